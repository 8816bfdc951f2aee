//! Broken MBRs, partition tables and contents.

use std::fs::File;

use super::{
    super::{
        super::{Form, grow},
        Flat, gpt,
    },
    broken, length, put, read, refuse,
};

/// Writes the checksum of a GPT header anew, after a change that is not about the checksum.
fn seal(file: &File, header: u64) {
    let mut bytes: [u8; 92] = read(file, header);
    bytes[16..20].fill(0);
    put(file, header + 16, &crc32fast::hash(&bytes).to_le_bytes());
}

/// The same after a change of entries, in both tables.
fn seal_entries(file: &File, change: impl Fn(u64)) {
    let second = length(file) - 512;
    for (header, entries) in [(512, 1024), (second, second - 32 * 512)] {
        change(entries);
        let bytes: [u8; 128 * 128] = read(file, entries);
        put(file, header + 88, &crc32fast::hash(&bytes).to_le_bytes());
        seal(file, header);
    }
}

#[test]
fn broken_disks_are_refused() {
    refuse(
        Form::AwsRaw,
        &[
            (
                "cut",
                |file| file.set_len(length(file) - 100).expect("cut"),
                "the disk has 139460508 bytes, the source 139460608",
            ),
            (
                "longer",
                |file| file.set_len(length(file) + 512).expect("long"),
                "the disk has 139461120 bytes, the source 139460608",
            ),
            ("no signature", |file| put(file, 510, &[0; 2]), "the MBR's signature is missing"),
            (
                "plain MBR",
                |file| put(file, 450, &[0x0c]),
                "the MBR's first partition is of type 0x0c, not protective",
            ),
            ("protects late", |file| put(file, 454, &[2]), "the protective partition starts at sector 2"),
            (
                "protects little",
                |file| put(file, 458, &[0xff, 0, 0, 0]),
                "the protective partition has 255 sectors; it should have 272383",
            ),
            ("hybrid MBR", |file| put(file, 466, &[1]), "the MBR has more than one partition"),
            ("no first GPT", |file| put(file, 512, &[0; 512]), "the first GPT header is missing"),
            (
                "no second GPT",
                |file| put(file, length(file) - 512, &[0; 512]),
                "the second GPT header is missing",
            ),
            ("revision", |file| put(file, 512 + 10, &[2]), "the first GPT header is of revision 0x00020000"),
            ("header size", |file| put(file, 512 + 12, &[91]), "the first GPT header has 91 bytes"),
            (
                "one bit of a checksum",
                |file| put(file, 512 + 16, &[0; 4]),
                "the first GPT header's checksum is 0x00000000; it should be 0xc4a5871b",
            ),
            (
                "header elsewhere",
                |file| {
                    put(file, 512 + 24, &[7]);
                    seal(file, 512);
                },
                "the first GPT header says that it is at sector 7",
            ),
            (
                "second elsewhere",
                |file| {
                    put(file, 512 + 32, &9u64.to_le_bytes());
                    seal(file, 512);
                },
                "the first GPT header says that the second is at sector 9, but the disk's last sector is 272383",
            ),
            (
                "first elsewhere",
                |file| {
                    put(file, length(file) - 512 + 32, &[5]);
                    seal(file, length(file) - 512);
                },
                "the second GPT header says that the first is at sector 5",
            ),
            (
                "another disk's second table",
                |file| {
                    put(file, length(file) - 512 + 56, &[0; 16]);
                    seal(file, length(file) - 512);
                },
                "the GPT headers name two disks: e1927a2d-d138-857b-a2c0-f9e8c73b8227 and 00000000-0000-0000-0000-000000000000",
            ),
            (
                "usable differs",
                |file| {
                    put(file, length(file) - 512 + 40, &[35]);
                    seal(file, length(file) - 512);
                },
                "the GPT headers differ in which sectors are usable",
            ),
            (
                "usable too much",
                |file| {
                    for header in [512, length(file) - 512] {
                        put(file, header + 40, &[33]);
                        seal(file, header);
                    }
                },
                "the GPT says that sectors 33 to 272350 are usable; of this disk, 34 to 272350 are",
            ),
            (
                "number of entries",
                |file| {
                    put(file, 512 + 80, &[64]);
                    seal(file, 512);
                },
                "the first GPT header has 64 entries of 128 bytes",
            ),
            (
                "entries elsewhere",
                |file| {
                    put(file, 512 + 72, &[3]);
                    seal(file, 512);
                },
                "the first GPT entries start at sector 3",
            ),
            (
                "second entries elsewhere",
                |file| {
                    put(file, length(file) - 512 + 72, &3u64.to_le_bytes());
                    seal(file, length(file) - 512);
                },
                "the second GPT entries start at sector 3",
            ),
            (
                "an entry's byte",
                |file| put(file, 1024 + 48, &[1]),
                "the first GPT entries' checksum is 0x218e687c in the header at sector 1; it should be 0xe2ba1e0a",
            ),
            (
                "entries differ",
                |file| {
                    put(file, 1024 + 56, b"X");
                    let bytes: [u8; 128 * 128] = read(file, 1024);
                    put(file, 512 + 88, &crc32fast::hash(&bytes).to_le_bytes());
                    seal(file, 512);
                },
                "the two tables of GPT entries differ",
            ),
            (
                "ends before it starts",
                |file| seal_entries(file, |entries| put(file, entries + 40, &7u64.to_le_bytes())),
                "partition 1 ends before it starts",
            ),
            (
                "too far",
                |file| seal_entries(file, |entries| put(file, entries + 256 + 40, &272351u64.to_le_bytes())),
                "partition 3, sectors 266240 to 272351, is not in the usable sectors",
            ),
            (
                "overlap",
                |file| seal_entries(file, |entries| put(file, entries + 128 + 32, &4095u64.to_le_bytes())),
                "partition 2 overlaps partition 1",
            ),
            (
                "no data partition",
                |file| seal_entries(file, |entries| put(file, entries + 256, &[0; 16])),
                "the partitions are not BIOS boot, EFI system and capOS data, but \
                 [21686148-6449-6e6f-744e-656564454649, c12a7328-f81f-11d2-ba4b-00a0c93ec93b]",
            ),
            (
                "other name",
                |file| seal_entries(file, |entries| put(file, entries + 56, b"X")),
                "the disk has other partitions than the source",
            ),
            (
                "other disk",
                |file| {
                    for header in [512, length(file) - 512] {
                        put(file, header + 56, &[0; 16]);
                        seal(file, header);
                    }
                },
                "the disk is 00000000-0000-0000-0000-000000000000, but the source is e1927a2d-d138-857b-a2c0-f9e8c73b8227",
            ),
            ("boot code", |file| put(file, 7, &[1]), "the boot code differs from the source at byte 0x7"),
            (
                "a file's byte",
                |file| put(file, (2 << 20) + 90, &[1]),
                "partition 2 differs from the source at byte 0x20005a",
            ),
            (
                "data",
                |file| put(file, (131 << 20) + 5, &[1]),
                "partition 3 differs from the source at byte 0x8300005",
            ),
            (
                "between partitions",
                |file| put(file, 40 * 512 + 3, &[1]),
                "the disk has something outside of its partitions, at byte 0x5000",
            ),
        ],
    );
}

#[test]
fn a_disk_that_grew_without_its_second_table_is_refused() {
    // What a mere `truncate` to a whole MiB would give.
    let (_folder, path) = broken(Form::AwsRaw, |file| file.set_len(256 << 20).expect("long"));
    let file = File::options().read(true).write(true).open(&path).expect("there");
    put(&file, 458, &(256u32 * 2048 - 1).to_le_bytes());
    let error = gpt::check(&Flat::whole(file).expect("a disk")).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the first GPT header says that the second is at sector 272383, but the disk's last sector is 524287"
    );
    // And that what is grown properly has nothing left where the table was.
    let mut file = File::options().read(true).write(true).open(&path).expect("there");
    file.set_len(133 << 20).expect("as it was");
    grow::to_multiple(&mut file, 1 << 30).expect("grown");
    assert_eq!(read::<512>(&file, (133 << 20) - 512), [0; 512]);
    gpt::check(&Flat::whole(file).expect("a disk")).expect("good");
}
