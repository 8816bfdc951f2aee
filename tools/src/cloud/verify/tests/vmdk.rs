//! Broken VMDKs. Sectors of the file in the messages follow from how well the example compresses.

use std::fs::File;

use super::{
    super::{
        super::Form,
        fields::{le32, le64},
    },
    length, put, read, refuse,
};

/// The first sector of the grains.
const GRAINS: u64 = 128 * 512;

/// Replaces text of the descriptor by as much other text.
fn change_descriptor(file: &File, from: &str, to: &str) {
    let text: [u8; 10240] = read(file, 512);
    let position = text.windows(from.len()).position(|part| part == from.as_bytes()).expect("there");
    assert_eq!(from.len(), to.len());
    put(file, 512 + position as u64, to.as_bytes());
}

/// Changes a field of the header and of its copy in the footer.
fn change_both(file: &File, offset: u64, bytes: &[u8]) {
    put(file, offset, bytes);
    put(file, length(file) - 1024 + offset, bytes);
}

/// The offset of the marker behind the grain whose marker is at `offset`.
fn next_grain(file: &File, offset: u64) -> u64 {
    offset + (12 + u64::from(le32(&read::<12>(file, offset), 8))).next_multiple_of(512)
}

/// The offset of the grain directory.
fn directory(file: &File) -> u64 {
    le64(&read::<512>(file, length(file) - 1024), 56) * 512
}

/// The offset of the first grain table.
fn table(file: &File) -> u64 {
    u64::from(le32(&read::<4>(file, directory(file)), 0)) * 512
}

#[test]
fn broken_vmdks_are_refused() {
    refuse(
        Form::AwsVmdk,
        &[
            (
                "half a sector",
                |file| file.set_len(length(file) - 1).expect("cut"),
                "the file has 103423 bytes, which are no whole sectors",
            ),
            ("magic", |file| put(file, 0, b"VMDK"), "the header's magic is missing"),
            (
                "version",
                |file| change_both(file, 4, &[1]),
                "the header is of version 1; compressed grains need 3",
            ),
            (
                "flags",
                |file| change_both(file, 10, &[1]),
                "the header's flags are 0x10001; a stream-optimized disk has 0x30001",
            ),
            (
                "line ends",
                |file| put(file, 73, b"\n \n\n"),
                "the header's line ends are \"\\n \\n\\n\": the file was transferred as text",
            ),
            ("compression", |file| put(file, 77, &[0]), "the header's compression is not deflate"),
            ("grain size", |file| put(file, 20, &[64]), "the header's grains have 64 sectors, not 128"),
            ("table size", |file| put(file, 45, &[1]), "the header's grain tables have 256 entries, not 512"),
            (
                "capacity",
                |file| put(file, 12, &[1]),
                "the header's capacity of 272385 sectors is not made of whole grains",
            ),
            ("left open", |file| put(file, 72, &[1]), "the disk was not closed properly"),
            (
                "directory in the header",
                |file| put(file, 56, &9u64.to_le_bytes()),
                "the header says that the directory is at sector 9, not that the footer tells",
            ),
            (
                "descriptor's place",
                |file| put(file, 28, &[200]),
                "the descriptor is said to have 20 sectors from 200 on",
            ),
            (
                "kind",
                |file| change_descriptor(file, "streamOptimized", "monolithicFlat\""),
                "the descriptor's createType is \"monolithicFlat\", not \"streamOptimized\"",
            ),
            (
                "no kind",
                |file| change_descriptor(file, "createType", "createTypo"),
                "the descriptor has no createType",
            ),
            (
                "parent",
                |file| change_descriptor(file, "parentCID=ffffffff", "parentCID=00000001"),
                "the descriptor names a parent disk",
            ),
            ("no content", |file| change_descriptor(file, "\nCID=", "\nCIX="), "the descriptor has no CID"),
            (
                "extent's size",
                |file| change_descriptor(file, "RW 272384", "RW 272385"),
                "the descriptor's extent has 272385 sectors, the header's capacity is 272384",
            ),
            (
                "extent's kind",
                |file| change_descriptor(file, "SPARSE", "VMFSSP"),
                "the descriptor's extent is of kind \"VMFSSP\", not SPARSE",
            ),
            (
                "no extent",
                |file| change_descriptor(file, "RW 272384", "NO 272384"),
                "the descriptor has no extent",
            ),
            (
                "two extents",
                |file| change_descriptor(file, "# The Disk Data", "RW 1 SPARSE \"x\""),
                "the descriptor has more than one extent",
            ),
            (
                "grain's byte",
                |file| put(file, GRAINS + 12 + 20, &[0xff; 4]),
                "the grain at sector 128: it cannot be decompressed: corrupt deflate stream",
            ),
            (
                "grain's size",
                |file| put(file, GRAINS + 8, &[1, 0, 0, 0]),
                "the grain at sector 128: it cannot be decompressed: incomplete deflate stream",
            ),
            (
                "grain leaves",
                |file| put(file, GRAINS + 8, &[0xff; 4]),
                "the grain at sector 128 leaves the file",
            ),
            (
                "grain's place",
                |file| put(file, GRAINS, &[1]),
                "the marker at sector 128 places its grain at the disk's sector 1",
            ),
            (
                "grain behind the disk",
                |file| put(file, GRAINS, &272384u64.to_le_bytes()),
                "the marker at sector 128 places its grain at the disk's sector 272384",
            ),
            (
                "twice the same grain",
                |file| put(file, next_grain(file, GRAINS), &[0; 8]),
                "the grain at sector 129 is not in the order of the disk",
            ),
            (
                "a grain's table entry",
                |file| put(file, table(file), &[9]),
                "grain table 0 places grain 0 at sector 9, but it is at 128",
            ),
            (
                "a grain too many",
                |file| put(file, table(file) + 4, &[9]),
                "grain table 0 places grain 1 at sector 9, but it is at 0",
            ),
            (
                "directory's entry",
                |file| put(file, directory(file), &[1, 0]),
                "the grain directory places table 0 at sector 1, where none is",
            ),
            (
                "directory without a table",
                |file| put(file, directory(file), &[0; 4]),
                "the grain directory has no table 0, which has grains",
            ),
            (
                "unknown marker",
                |file| put(file, table(file) - 512 + 12, &[7]),
                "the marker at sector 186 is of unknown type 7",
            ),
            (
                "footer's directory",
                |file| put(file, length(file) - 1024 + 56, &1u64.to_le_bytes()),
                "the footer says that the directory is at sector 1, but it is at 198",
            ),
            ("footer differs", |file| put(file, length(file) - 1024 + 36, &[21]), "header and footer differ"),
            (
                "footer's magic",
                |file| put(file, length(file) - 1024, &[0]),
                "in the footer: the header's magic is missing",
            ),
            (
                "no footer",
                |file| {
                    put(file, length(file) - 1536, &[0; 512]);
                    file.set_len(length(file) - 1024).expect("cut");
                },
                "there is no footer",
            ),
            (
                "no end",
                |file| file.set_len(length(file) - 512).expect("cut"),
                "the file ends without its end marker",
            ),
            (
                "behind the end",
                |file| file.set_len(length(file) + 1024).expect("long"),
                "2 sectors follow the end marker",
            ),
        ],
    );
}
