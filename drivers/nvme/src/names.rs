//! What clouds call their disks.
//!
//! | cloud | told by | name |
//! |---|---|---|
//! | Google Compute Engine, persistent disk | model `nvme_card-pd` | `device_name` of a JSON text at byte 384 of the namespace's page |
//! | Amazon EBS | vendor 0x1d0f, model `Amazon Elastic Block Store` | 32 bytes at 384 of the namespace's page, else at 3072 of the controller's |
//! | Azure | text at byte 384 that has `name=` | that value |

use alloc::string::{String, ToString};
use serde::Deserialize;

/// Where a namespace's page has its vendor's own bytes.
const VENDOR_AREA: usize = 384;

/// Where EBS puts the name in the controller's page, and how long it is.
const EBS_CONTROLLER_NAME: core::ops::Range<usize> = 3072..3104;
const EBS_NAMESPACE_NAME: core::ops::Range<usize> = 384..416;

/// Amazon's PCI vendor number, and the model of its volumes.
const AMAZON: u16 = 0x1d0f;
const EBS_MODEL: &str = "Amazon Elastic Block Store";

/// Part of the model of a persistent disk.
const PERSISTENT_DISK: &str = "nvme_card-pd";

/// The longest name that is believed.
const LONGEST: usize = 64;

/// Text as the device pads it: printable characters, without the blanks and zeroes around.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or_default();
    let printable = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte)).map(|byte| char::from(*byte));
    printable.collect::<String>().trim().to_string()
}

/// Whether this is an EBS volume, whose commands may take very long.
pub fn is_ebs(vendor: u16, model: &str) -> bool {
    vendor == AMAZON && model == EBS_MODEL
}

/// What the cloud calls the only disk of a controller; empty when it says nothing.
pub fn controller_name(vendor: u16, model: &str, page: &[u8]) -> String {
    if is_ebs(vendor, model) {
        page.get(EBS_CONTROLLER_NAME).map(text).unwrap_or_default()
    } else {
        String::new()
    }
}

/// The JSON text of a persistent disk.
#[derive(Deserialize)]
struct PersistentDisk {
    #[serde(default)]
    device_name: String,
}

/// What the cloud calls a namespace; empty when it says nothing.
pub fn namespace_name(model: &str, vendor: u16, page: &[u8]) -> String {
    let area = page.get(VENDOR_AREA..).unwrap_or_default();
    if model.contains(PERSISTENT_DISK) {
        let end = area.iter().position(|byte| *byte == 0).unwrap_or(area.len());
        let json = area.get(..end).unwrap_or_default();
        let disk = serde_json::from_slice::<PersistentDisk>(json);
        return disk.map(|disk| text(disk.device_name.as_bytes())).map(shortened).unwrap_or_default();
    }
    if is_ebs(vendor, model) {
        return page.get(EBS_NAMESPACE_NAME).map(text).unwrap_or_default();
    }
    let words = text(area);
    let name = words.split([',', ';', ' ']).find_map(|word| word.trim().strip_prefix("name="));
    shortened(name.unwrap_or_default().to_string())
}

fn shortened(mut name: String) -> String {
    // It is ASCII: every place is between characters.
    name.truncate(LONGEST);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
        page
    }

    #[test]
    fn clouds_names_are_found() {
        let google = page(384, br#"{"device_name":"persistent-disk-0","disk_type":"PERSISTENT"}"#);
        assert_eq!(namespace_name("nvme_card-pd", 0x1ae0, &google), "persistent-disk-0");
        let amazon = page(384, b"/dev/sdf                        vol0123");
        assert_eq!(namespace_name(EBS_MODEL, AMAZON, &amazon), "/dev/sdf");
        assert_eq!(controller_name(AMAZON, EBS_MODEL, &page(3072, b"xvdb\0\xff\xff")), "xvdb");
        assert_eq!(controller_name(0x1234, EBS_MODEL, &page(3072, b"xvdb")), "");
        let azure = page(384, b"type=os,index=0,name=root");
        assert_eq!(namespace_name("MSFT NVMe Accelerator v1.0", 0x1414, &azure), "root");
    }

    #[test]
    fn what_is_no_name_is_none() {
        for json in ["", "{", "[]", r#"{"device_name":7}"#, "\u{7f}"] {
            assert_eq!(namespace_name("nvme_card-pd", 0x1ae0, &page(384, json.as_bytes())), "");
        }
        let long = format!(r#"{{"device_name":"{}"}}"#, "a".repeat(500));
        assert_eq!(namespace_name("nvme_card-pd", 0x1ae0, &page(384, long.as_bytes())).len(), LONGEST);
        assert_eq!(namespace_name("QEMU NVMe Ctrl", 0x1b36, &page(384, &[])), "");
        assert_eq!(text(b" \x01a\nb \0c"), "ab");
    }
}
