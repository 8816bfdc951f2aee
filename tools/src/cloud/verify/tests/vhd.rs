//! Broken VHDs.

use std::fs::File;

use super::{super::super::Form, length, put, read, refuse};

/// Writes the footer's checksum anew.
fn seal_footer(file: &File) {
    let footer = length(file) - 512;
    put(file, footer + 64, &[0; 4]);
    let sum: u32 = read::<512>(file, footer).iter().map(|byte| u32::from(*byte)).sum();
    put(file, footer + 64, &(!sum).to_be_bytes());
}

fn change_footer(file: &File, offset: u64, bytes: &[u8]) {
    put(file, length(file) - 512 + offset, bytes);
    seal_footer(file);
}

#[test]
fn broken_vhds_are_refused() {
    refuse(
        Form::AzureVhd,
        &[
            (
                "no footer",
                |file| file.set_len(length(file) - 512).expect("cut"),
                "the footer's cookie is missing",
            ),
            (
                "half a footer",
                |file| file.set_len(length(file) - 1).expect("cut"),
                "the file has 139461119 bytes, which are no sectors with a footer",
            ),
            ("cookie", |file| change_footer(file, 0, b"C"), "the footer's cookie is missing"),
            (
                "checksum",
                |file| put(file, length(file) - 512 + 64, &[0; 4]),
                "the footer's checksum is 0x00000000; it should be 0xffffe702",
            ),
            (
                "temporary",
                |file| change_footer(file, 8, &3u32.to_be_bytes()),
                "the footer's features are 0x3; a plain disk has 0x2",
            ),
            ("version", |file| change_footer(file, 12, &[0, 2, 0, 0]), "the footer is of version 0x00020000"),
            (
                "dynamic",
                |file| change_footer(file, 60, &3u32.to_be_bytes()),
                "the disk is of type 3, not fixed (2)",
            ),
            (
                "header",
                |file| change_footer(file, 16, &512u64.to_be_bytes()),
                "the footer says that a header follows at 0x200; a fixed disk has none",
            ),
            (
                "maker",
                |file| change_footer(file, 28, b"vpc "),
                "the maker \"vpc \" makes some readers take the size from the geometry",
            ),
            (
                "current size",
                |file| change_footer(file, 48, &512u64.to_be_bytes()),
                "the current size is 512 bytes, but 139460608 lie before the footer",
            ),
            (
                "original size",
                |file| change_footer(file, 40, &512u64.to_be_bytes()),
                "the original size is 512 bytes, not 139460608",
            ),
            (
                "geometry",
                |file| change_footer(file, 56, &[0xff, 0xff]),
                "the geometry 65535/16/17 holds 17825520 sectors of 272384",
            ),
            ("no identity", |file| change_footer(file, 68, &[0; 16]), "the disk has no identity"),
            (
                "saved state",
                |file| change_footer(file, 84, &[1]),
                "the disk is saved together with a machine's state",
            ),
            ("reserved", |file| change_footer(file, 400, &[1]), "the footer's reserved bytes are used"),
            (
                "no whole MiB",
                |file| {
                    let footer: [u8; 512] = read(file, length(file) - 512);
                    put(file, length(file) - 512, &[0; 512]);
                    file.set_len(length(file) + 512).expect("long");
                    put(file, length(file) - 512, &footer);
                    let size = (length(file) - 512).to_be_bytes();
                    change_footer(file, 40, &size);
                    change_footer(file, 48, &size);
                },
                "the disk has 139461120 bytes, which are no whole MiB, as Azure wants them",
            ),
            (
                "content",
                |file| put(file, (2 << 20) + 90, &[1]),
                "partition 2 differs from the source at byte 0x20005a",
            ),
        ],
    );
}
