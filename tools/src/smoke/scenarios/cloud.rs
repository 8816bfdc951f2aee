//! Packaged disks boot from the file that a cloud would be given.

use crate::{
    cloud::{self, Form},
    image::{self, Loader, Recipe},
    qemu::Firmware,
    smoke::Scenario,
};

const LIMIT: u64 = 120;
const MANIFEST: &str = "manifests/default.capnp";

/// Each form of file once; `make run-cloud-images` boots all of them by both firmwares.
const BOOTS: [(&str, Form, Firmware); 3] = [
    ("gcp-bios", Form::GcpArchive, Firmware::Bios),
    ("aws-vmdk-uefi", Form::AwsVmdk, Firmware::Uefi),
    ("azure-vhd-bios", Form::AzureVhd, Firmware::Bios),
];

/// One scenario for each form.
pub fn scenarios() -> Vec<Scenario> {
    BOOTS
        .into_iter()
        .map(|(name, form, firmware)| {
            let name = format!("cloud-{name}");
            Scenario::new(name, "a disk as a cloud imports it boots to the page", LIMIT, move |context| {
                let folder = context.temporary()?;
                let source = folder.path().join("disk.img");
                let manifest = context.paths().root.join(MANIFEST);
                image::build(context.paths(), Recipe::new(&manifest, Loader::Grub), &source)?;
                let packaged = folder.path().join(form.file_name());
                cloud::package_form(form, &source, &packaged)?;
                cloud::boot(context, form, &packaged, firmware)
            })
        })
        .collect()
}
