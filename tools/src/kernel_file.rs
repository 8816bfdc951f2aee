//! Makes the built kernel ready to boot: writes the names of its functions into it, and leaves only what is loaded.
//!
//! The linker keeps room for the names in the section `.symbols`; their form is documented in
//! `kernel/src/symbols.rs`.

use std::{ops::Range, path::Path};

use anyhow::{Context as _, Result, ensure};
use elf::{ElfBytes, abi, endian::LittleEndian};
use rustc_demangle::demangle;

use crate::executable;

const SECTION: &str = ".symbols";
const TEXT: &str = ".text";
const MAGIC: &[u8; 8] = b"capossym";

/// Bytes in front of the entries, and of an entry.
const HEADER: usize = 16;
const ENTRY: usize = 8;

/// Longest name that is kept, in bytes.
const MAXIMUM_NAME: usize = 96;

/// A function: where it starts behind the start of the text, and its readable name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    offset: u32,
    name: String,
}

/// Reads the built kernel as it is to be booted.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(path).with_context(|| format!("{} (is it built?)", path.display()))?;
    add_names(&mut bytes).with_context(|| path.display().to_string())?;
    executable::prepare(bytes).with_context(|| path.display().to_string())
}

/// Where a function of the built kernel begins.
pub fn address(path: &Path, name: &str) -> Result<u64> {
    let bytes = std::fs::read(path).with_context(|| format!("{} (is it built?)", path.display()))?;
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes)?;
    let text = file.section_header_by_name(TEXT)?.context("no text section")?;
    let function = functions(&file)?.into_iter().find(|function| function.name == name);
    let function = function.with_context(|| format!("the kernel has no function {name}"))?;
    Ok(text.sh_addr + u64::from(function.offset))
}

fn add_names(bytes: &mut [u8]) -> Result<()> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let Some(section) = file.section_header_by_name(SECTION)? else { return Ok(()) };
    let start = usize::try_from(section.sh_offset)?;
    let room = start..start.checked_add(usize::try_from(section.sh_size)?).context("the section wraps")?;
    let functions = functions(&file)?;
    let table = table(&functions, room.len())?;
    let room = bytes.get_mut(room).context("the section leaves the file")?;
    ensure!(room.starts_with(MAGIC), "the section {SECTION} does not start with its magic");
    room.get_mut(..table.len()).context("the table fits")?.copy_from_slice(&table);
    Ok(())
}

/// All functions of the text, by address; of several names for one address, the first by alphabet.
fn functions(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<Function>> {
    let text = file.section_header_by_name(TEXT)?.context("no text section")?;
    let addresses: Range<u64> = text.sh_addr..text.sh_addr.saturating_add(text.sh_size);
    let (symbols, names) = file.symbol_table()?.context("no symbol table")?;
    let mut functions = Vec::new();
    for symbol in symbols.iter().filter(|symbol| symbol.st_symtype() == abi::STT_FUNC) {
        if addresses.contains(&symbol.st_value) {
            let offset = u32::try_from(symbol.st_value - addresses.start)?;
            functions.push(Function { offset, name: readable(names.get(usize::try_from(symbol.st_name)?)?) });
        }
    }
    functions.sort();
    functions.dedup_by_key(|function| function.offset);
    Ok(functions)
}

/// A name without the hash, and cut if it is very long.
fn readable(name: &str) -> String {
    let mut name = format!("{:#}", demangle(name));
    let end = (0..=MAXIMUM_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.truncate(end);
    name
}

/// The table of as many functions as fit.
fn table(functions: &[Function], room: usize) -> Result<Vec<u8>> {
    let mut used = HEADER;
    let fits = |function: &&Function| {
        used += ENTRY + function.name.len() + 1;
        used <= room
    };
    let functions: Vec<&Function> = functions.iter().take_while(fits).collect();
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    for function in &functions {
        entries.extend_from_slice(&function.offset.to_le_bytes());
        entries.extend_from_slice(&u32::try_from(names.len())?.to_le_bytes());
        names.extend_from_slice(function.name.as_bytes());
        names.push(0);
    }
    let mut table = MAGIC.to_vec();
    table.extend_from_slice(&u32::try_from(functions.len())?.to_le_bytes());
    table.extend_from_slice(&u32::try_from(names.len())?.to_le_bytes());
    table.extend(entries);
    table.extend(names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(offset: u32, name: &str) -> Function {
        Function { offset, name: name.into() }
    }

    #[test]
    fn the_table_has_the_documented_form() {
        let table = table(&[function(0, "a"), function(0x120, "bc")], 1000).expect("small");
        let expected = [
            &b"capossym"[..],
            &2u32.to_le_bytes(),
            &5u32.to_le_bytes(),
            &0u32.to_le_bytes(),
            &0u32.to_le_bytes(),
            &0x120u32.to_le_bytes(),
            &2u32.to_le_bytes(),
            b"a\0bc\0",
        ]
        .concat();
        assert_eq!(table, expected);
    }

    #[test]
    fn entries_that_do_not_fit_are_dropped() {
        let functions = [function(0, "aaaa"), function(8, "bbbb")];
        let one = HEADER + ENTRY + 5;
        assert_eq!(table(&functions, one).expect("small").len(), one);
        assert_eq!(table(&functions, one + ENTRY + 4).expect("small").len(), one);
        assert_eq!(table(&functions, HEADER).expect("small").len(), HEADER);
    }

    #[test]
    fn names_are_readable_and_short() {
        assert_eq!(readable("_ZN6kernel4main17h0123456789abcdefE"), "kernel::main");
        assert_eq!(readable("memcpy"), "memcpy");
        assert_eq!(readable(&"ä".repeat(80)).len(), MAXIMUM_NAME);
    }
}
