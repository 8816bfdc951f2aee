//! Names of kernel functions, for backtraces.
//!
//! The build writes them into the section `.symbols` after linking, sorted by address. All numbers are little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `capossym` |
//! | 4 | number of entries |
//! | 4 | bytes of names |
//! | 8 each | offset of the function from the start of the text (4), offset of its name (4) |
//! | | the names, each ended by a zero byte |

/// Room that the linker leaves; the tool that fills it drops the entries that do not fit.
const SIZE: usize = 96 * 1024;

#[used]
#[unsafe(link_section = ".symbols")]
static SYMBOLS: [u8; SIZE] = {
    let mut bytes = [0; SIZE];
    let magic = b"capossym";
    let mut index = 0;
    while index < magic.len() {
        bytes[index] = magic[index];
        index += 1;
    }
    bytes
};

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
}

/// The function that holds an address, and how far into it.
pub fn find(address: u64) -> Option<(&'static str, u64)> {
    let start = &raw const __text_start as u64;
    let end = &raw const __text_end as u64;
    if !(start..end).contains(&address) {
        return None;
    }
    let target = u32::try_from(address - start).ok()?;
    // SAFETY: a read of the whole static; volatile, for the build changes it behind the compiler's back.
    let bytes = unsafe {
        core::slice::from_raw_parts(core::hint::black_box((&raw const SYMBOLS).cast::<u8>()), SIZE)
    };
    let word = |offset: usize| Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?));
    let count = word(8)? as usize;
    let entry = |index: usize| Some((word(16 + 8 * index)?, word(20 + 8 * index)?));
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if entry(middle)?.0 <= target { low = middle + 1 } else { high = middle }
    }
    let (function, name) = entry(low.checked_sub(1)?)?;
    let names = bytes.get(16 + 8 * count..)?;
    let name = names.get(name as usize..)?;
    let length = name.iter().position(|&byte| byte == 0)?;
    Some((core::str::from_utf8(name.get(..length)?).ok()?, u64::from(target - function)))
}
