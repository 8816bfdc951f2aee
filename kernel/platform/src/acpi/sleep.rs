//! The sleep types of S5, found in the DSDT's byte code without interpreting it.
//!
//! `_S5` is a package of constants by definition [ACPI-6.5 7.4.2], so compilers emit it in one form: NameOp, the name
//! (perhaps after a root character), PackageOp, package length, element count, elements [ACPI-6.5 20.2.5].

const NAME_OP: u8 = 0x08;
const ROOT_CHARACTER: u8 = b'\\';
const PACKAGE_OP: u8 = 0x12;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;

/// The two sleep types of `_S5`; `None` when the package is not there or not of constants.
pub(super) fn find_soft_off_types(code: &[u8]) -> Option<(u8, u8)> {
    code.windows(4)
        .enumerate()
        .filter(|(_, name)| name == b"_S5_")
        .filter(|&(at, _)| is_named(code, at))
        .find_map(|(at, _)| read_package(code.get(at.checked_add(4)?..)?))
}

fn is_named(code: &[u8], at: usize) -> bool {
    let before = |distance| at.checked_sub(distance).and_then(|index| code.get(index)).copied();
    before(1) == Some(NAME_OP) || before(1) == Some(ROOT_CHARACTER) && before(2) == Some(NAME_OP)
}

fn read_package(code: &[u8]) -> Option<(u8, u8)> {
    let (&PACKAGE_OP, code) = code.split_first()? else { return None };
    // The lead byte says how many bytes of length follow. [ACPI-6.5 20.2.4]
    let following = usize::from(code.first()? >> 6);
    let (&elements, code) = code.get(following + 1..)?.split_first()?;
    if elements == 0 {
        return None;
    }
    let (type_a, code) = read_constant(code)?;
    // A package of one element is allowed by old firmware: the type for both registers.
    let type_b = if elements >= 2 { read_constant(code)?.0 } else { type_a };
    Some((type_a, type_b))
}

/// A constant that fits the three bits of a sleep type, and what follows it.
fn read_constant(code: &[u8]) -> Option<(u8, &[u8])> {
    let (&prefix, code) = code.split_first()?;
    let size = match prefix {
        ZERO_OP => return Some((0, code)),
        ONE_OP => return Some((1, code)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    let (bytes, code) = code.split_at_checked(size)?;
    let (&low, high) = bytes.split_first()?;
    (low < 8 && high.iter().all(|&byte| byte == 0)).then_some((low, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_compilers_emit_are_read() {
        // QEMU q35: Name (_S5, Package (0x04) { Zero, Zero, Zero, Zero })
        let qemu = b"\x14\x08_S5_\x12\x06\x04\0\0\0\0";
        assert_eq!(find_soft_off_types(qemu), Some((0, 0)));
        let rooted = b"\x08\\_S5_\x12\x0a\x04\x0a\x05\x0a\x07\0\0";
        assert_eq!(find_soft_off_types(rooted), Some((5, 7)));
        let long_length = b"\x08_S5_\x12\x4a\x00\x02\x01\x0b\x03\x00";
        assert_eq!(find_soft_off_types(long_length), Some((1, 3)));
        let one_element = b"\x08_S5_\x12\x04\x01\x0a\x05";
        assert_eq!(find_soft_off_types(one_element), Some((5, 5)));
    }

    #[test]
    fn what_is_no_such_package_is_passed_over() {
        assert_eq!(find_soft_off_types(b""), None);
        assert_eq!(find_soft_off_types(b"_S5_"), None);
        assert_eq!(find_soft_off_types(b"\x08_S5_"), None);
        assert_eq!(find_soft_off_types(b"\x08_S5_\x12"), None);
        assert_eq!(find_soft_off_types(b"\x08_S5_\x12\xc6"), None);
        assert_eq!(find_soft_off_types(b"\x08_S5_\x12\x06\x04\x0a"), None);
        assert_eq!(find_soft_off_types(b"\x08_S5_\x12\x06\x00\0\0"), None);
        // A type of 8 does not fit the register.
        assert_eq!(find_soft_off_types(b"\x08_S5_\x12\x06\x04\x0a\x08\0"), None);
        // A mention that is no definition comes before the definition.
        let code = b"\x70_S5_\x12\x06\x04\x0a\x01\x0a\x01\x08_S5_\x12\x06\x04\x0a\x02\x0a\x02";
        assert_eq!(find_soft_off_types(code), Some((2, 2)));
    }
}
