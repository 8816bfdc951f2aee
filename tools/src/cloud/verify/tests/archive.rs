//! Broken archives.

use std::{fs::File, io::Write as _};

use flate2::{Compression, GzBuilder, read::GzDecoder};

use super::{super::super::Form, length, put, refuse};

/// A change of an archive's bytes inside the gzip stream.
fn change_tar(file: &File, change: impl FnOnce(&mut Vec<u8>)) {
    let mut tar = Vec::new();
    std::io::copy(&mut GzDecoder::new(file), &mut tar).expect("gzip");
    change(&mut tar);
    file.set_len(0).expect("cut");
    let mut gzip = Vec::new();
    let mut encoder = GzBuilder::new().write(&mut gzip, Compression::fast());
    encoder.write_all(&tar).expect("compressed");
    encoder.finish().expect("compressed");
    put(file, 0, &gzip);
}

/// Changes a field of the tar header, and writes its checksum anew.
fn change_header(file: &File, offset: usize, bytes: &[u8]) {
    change_tar(file, |tar| {
        tar[offset..offset + bytes.len()].copy_from_slice(bytes);
        tar[148..156].fill(b' ');
        let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    });
}

#[test]
fn broken_archives_are_refused() {
    refuse(
        Form::GcpArchive,
        &[
            ("no gzip", |file| put(file, 0, b"PK"), "the file is not gzip"),
            (
                "too short",
                |file| file.set_len(5).expect("cut"),
                "the file is too short for gzip: failed to fill whole buffer",
            ),
            ("method", |file| put(file, 2, &[7]), "the gzip method is 7, not deflate (8)"),
            ("flags", |file| put(file, 3, &[8]), "the gzip header has flags 0x08; none are expected"),
            (
                "gzip checksum",
                |file| put(file, length(file) - 8, &[0; 4]),
                "the gzip checksum is 0x00000000; it should be 0xf9a67117",
            ),
            (
                "gzip length",
                |file| put(file, length(file) - 4, &[0; 4]),
                "the gzip stream says that it has 0 bytes; it has 448512",
            ),
            (
                "no trailer",
                |file| file.set_len(length(file) - 8).expect("cut"),
                "the gzip stream ends without its trailer: failed to fill whole buffer",
            ),
            ("more", |file| put(file, length(file), &[0]), "something follows the gzip stream"),
            (
                "tar checksum",
                |file| change_tar(file, |tar| tar[148..154].copy_from_slice(b"000001")),
                "the tar header's checksum is 15; it should be 8623",
            ),
            (
                "POSIX",
                |file| change_header(file, 257, b"ustar\x0000"),
                "the tar header's magic is \"ustar\\000\", not that of the old GNU format",
            ),
            (
                "name",
                |file| change_header(file, 0, b"Disk.raw"),
                "the member is named \"Disk.raw\", not \"disk.raw\"",
            ),
            (
                "folder",
                |file| change_header(file, 0, b"./disk.raw"),
                "the member is named \"./disk.raw\", not \"disk.raw\"",
            ),
            ("link", |file| change_header(file, 156, b"2"), "the member is of type '2', not a file"),
            (
                "size",
                |file| change_header(file, 124, b"abcdefghijk"),
                "the member's size: \"abcdefghijk\" is no octal number: invalid digit found in string",
            ),
            (
                "no whole GiB",
                |file| change_header(file, 483, b"00001000000"),
                "disk.raw has 262144 bytes, which are no whole GiB",
            ),
            (
                "map ends early",
                |file| change_header(file, 483, b"20000000000"),
                "the map ends at 0x40000000, the disk at 0x80000000",
            ),
            (
                "map backwards",
                |file| change_header(file, 386 + 24, b"00000000000"),
                "the map's part at 0x0 is not behind the one before",
            ),
            (
                "map and size",
                |file| change_header(file, 124, b"00000001000"),
                "the map places 446464 bytes, but the member has 512",
            ),
            ("empty", |file| change_tar(file, |tar| tar.fill(0)), "the archive is empty"),
            (
                "cut",
                |file| change_tar(file, |tar| tar.truncate(2000)),
                "the archive ends within its member: failed to fill whole buffer",
            ),
            (
                "no end",
                |file| change_tar(file, |tar| tar.truncate(tar.len() - 1024)),
                "the archive's end: the archive ends in the middle: failed to fill whole buffer",
            ),
            (
                "a second member",
                |file| {
                    change_tar(file, |tar| {
                        let end = tar.len() - 1024;
                        tar[end] = b'x';
                    });
                },
                "something follows disk.raw in the archive",
            ),
            (
                "behind the end",
                |file| change_tar(file, |tar| tar.push(1)),
                "something follows the archive's end",
            ),
            (
                "content",
                |file| change_tar(file, |tar| tar[1024 + 7] ^= 1),
                "the boot code differs from the source at byte 0x7",
            ),
        ],
    );
}
