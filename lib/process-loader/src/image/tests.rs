//! One binary for each thing that can be wrong, made of a good one by one change.

use super::*;

/// Offsets in the ELF header and in program header `index` [ELF-64 1.5, figures 2 and 6].
const TYPE: usize = 16;
const MACHINE: usize = 18;
const ENTRY: usize = 24;
const HEADERS: usize = 64;
const HEADER_COUNT: usize = 56;
const HEADER_SIZE: usize = 56;

/// A program header to write.
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

const CODE: Header = Header {
    kind: PT_LOAD,
    flags: PF_R | PF_X,
    offset: 0x1040,
    address: 0x20_1040,
    file_size: 0x800,
    memory_size: 0x800,
};
const CONSTANTS: Header =
    Header { flags: PF_R, offset: 0, address: 0x20_0000, file_size: 0x1040, memory_size: 0x1000, ..CODE };
const DATA: Header = Header {
    flags: PF_R | PF_W,
    offset: 0x1840,
    address: 0x20_2840,
    file_size: 0x20,
    memory_size: 0x3000,
    ..CODE
};

fn binary(headers: &[Header]) -> Vec<u8> {
    let mut bytes = vec![0; 0x2000];
    bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    put(&mut bytes, TYPE, &ET_EXEC.to_le_bytes());
    put(&mut bytes, MACHINE, &EM_X86_64.to_le_bytes());
    put(&mut bytes, 20, &1_u32.to_le_bytes());
    put(&mut bytes, ENTRY, &0x20_1080_u64.to_le_bytes());
    put(&mut bytes, 32, &(HEADERS as u64).to_le_bytes());
    put(&mut bytes, 52, &64_u16.to_le_bytes());
    put(&mut bytes, 54, &(HEADER_SIZE as u16).to_le_bytes());
    put(&mut bytes, HEADER_COUNT, &(headers.len() as u16).to_le_bytes());
    for (index, header) in headers.iter().enumerate() {
        let at = HEADERS + index * HEADER_SIZE;
        put(&mut bytes, at, &header.kind.to_le_bytes());
        put(&mut bytes, at + 4, &header.flags.to_le_bytes());
        for (field, value) in [header.offset, header.address, 0, header.file_size, header.memory_size, 0x1000]
            .iter()
            .enumerate()
        {
            put(&mut bytes, at + 8 + field * 8, &value.to_le_bytes());
        }
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn good() -> [Header; 3] {
    [Header { memory_size: 0x1000, file_size: 0x1000, ..CONSTANTS }, CODE, DATA]
}

fn parse(headers: &[Header]) -> Result<Image, ImageError> {
    Image::parse(&binary(headers))
}

#[test]
fn a_good_binary_is_understood() {
    let image = parse(&good()).unwrap();
    let in_place = |file_page, protection| Content::InPlace { file_page, protection };
    assert_eq!(image.entry, 0x20_1080);
    assert_eq!(image.end, 0x20_6000);
    assert_eq!(image.fresh_pages(), 4);
    assert_eq!(
        image.segments,
        [
            Segment { address: 0x20_0000, pages: 1, content: in_place(0, Protection::Read) },
            Segment { address: 0x20_1000, pages: 1, content: in_place(1, Protection::ReadExecute) },
            Segment {
                address: 0x20_2000,
                pages: 4,
                content: Content::Fresh { file: 0x1840..0x1860, offset: 0x840 }
            },
        ]
    );
}

#[test]
fn what_is_not_a_static_x86_64_executable_is_refused() {
    assert_eq!(Image::parse(b""), Err(ImageError::NotElf));
    assert_eq!(Image::parse(b"#!/bin/sh"), Err(ImageError::NotElf));
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = binary(&good());
        put(&mut bytes, at, value);
        Image::parse(&bytes)
    };
    assert_eq!(changed(MACHINE, &183_u16.to_le_bytes()), Err(ImageError::Machine(183)));
    assert_eq!(changed(TYPE, &3_u16.to_le_bytes()), Err(ImageError::NotStatic));
    assert_eq!(changed(5, &[2]), Err(ImageError::NotElf));
    for kind in [PT_INTERP, PT_DYNAMIC] {
        assert_eq!(parse(&[CODE, Header { kind, ..DATA }]), Err(ImageError::NotStatic));
    }
    assert_eq!(parse(&[CODE, Header { kind: PT_TLS, ..DATA }]), Err(ImageError::ThreadLocal));
}

#[test]
fn the_number_of_segments_is_bounded() {
    assert_eq!(parse(&[]), Err(ImageError::NoSegments));
    assert_eq!(parse(&[Header { memory_size: 0, file_size: 0, ..CODE }]), Err(ImageError::NoSegments));
    let many: Vec<Header> =
        (0..9).map(|index| Header { address: CODE.address + index * 0x1000, ..CODE }).collect();
    assert!(parse(&many[..8]).is_ok());
    assert_eq!(parse(&many), Err(ImageError::TooManySegments(9)));
    assert_eq!(parse(&[Header { kind: 4, ..CODE }; 33]), Err(ImageError::TooManySegments(33)));
}

#[test]
fn a_segment_stays_inside_its_file() {
    let address = DATA.address;
    for (offset, file_size) in [(0x1840, 0x7c1), (0x2840, 0), (u64::MAX - 0x7bf, 0x7c0), (0x1840, u64::MAX)] {
        let data = Header { offset, file_size, memory_size: file_size.max(1), ..DATA };
        assert_eq!(parse(&[CODE, data]), Err(ImageError::OutsideFile(address)), "{offset:#x} {file_size:#x}");
    }
    let data = Header { file_size: 0x20, memory_size: 0x1f, ..DATA };
    assert_eq!(parse(&[CODE, data]), Err(ImageError::OutsideFile(address)));
}

#[test]
fn a_segment_stays_inside_the_user_half() {
    for (address, memory_size) in [
        (0x840, 0x20),
        (0x20_2840, USER_END),
        (USER_END - 0x7c0, 0x7c1),
        (u64::MAX - 0x7bf, 0x7c0),
        (0xffff_8000_0000_0840, 0x20),
    ] {
        let data = Header { address, memory_size, ..DATA };
        assert_eq!(parse(&[CODE, data]), Err(ImageError::OutsideUserHalf(address)), "{address:#x}");
    }
    let last = Header { address: USER_END - 0x7c0, memory_size: 0x7c0, ..DATA };
    assert_eq!(parse(&[CODE, last]).unwrap().end, USER_END);
}

#[test]
fn segments_are_aligned_and_apart() {
    let data = Header { address: 0x20_2841, ..DATA };
    assert_eq!(parse(&[CODE, data]), Err(ImageError::Unaligned(0x20_2841)));
    let data = Header { address: 0x20_1840, ..DATA };
    assert_eq!(parse(&[CODE, data]), Err(ImageError::Overlap(0x20_1840)));
    assert_eq!(parse(&[DATA, CODE]), Err(ImageError::Overlap(CODE.address)));
}

#[test]
fn protections_are_what_the_kernel_maps() {
    let address = DATA.address;
    let with = |flags| parse(&[CODE, Header { flags, ..DATA }]);
    assert_eq!(with(PF_R | PF_W | PF_X), Err(ImageError::WritableCode(address)));
    assert_eq!(with(PF_W | PF_X), Err(ImageError::WritableCode(address)));
    assert_eq!(with(0), Err(ImageError::Unreadable(address)));
    assert_eq!(with(PF_R), Err(ImageError::ReadOnlyZeroes(address)));
    assert_eq!(with(PF_X), Err(ImageError::ReadOnlyZeroes(address)));
    assert!(with(PF_W).is_ok());
}

#[test]
fn the_entry_lies_in_code() {
    for entry in [0, 0x20_103f, 0x20_1840, 0x20_2840, u64::MAX] {
        let mut bytes = binary(&good());
        put(&mut bytes, ENTRY, &entry.to_le_bytes());
        assert_eq!(Image::parse(&bytes), Err(ImageError::Entry(entry)));
    }
}

#[test]
fn every_changed_byte_of_the_headers_is_understood_or_refused() {
    let bytes = binary(&good());
    for place in 0..HEADERS + 3 * HEADER_SIZE {
        for value in [0, 1, 2, 7, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[place] = value;
            let Ok(image) = Image::parse(&changed) else { continue };
            let mut free = USER_START;
            for segment in &image.segments {
                assert!(segment.address >= free && segment.address % PAGE == 0 && segment.pages > 0);
                free = segment.end();
                if let Content::Fresh { file, offset } = &segment.content {
                    assert!(changed.get(file.clone()).is_some() && *offset < PAGE_SIZE);
                    assert!(offset + file.len() <= segment.pages as usize * PAGE_SIZE);
                }
            }
            assert!(free == image.end && free <= USER_END);
        }
    }
}
