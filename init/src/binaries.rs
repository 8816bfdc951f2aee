//! The programs of the boot package, each verified once before its first start.

use alloc::{collections::BTreeMap, format, rc::Rc, string::String};
use capnp::Error;
use core::cell::RefCell;
use process_loader::{
    Image, Program,
    package::{self, Binary},
};
use schema::memory_capnp::memory_object;
use sha2::{Digest, Sha256};

/// The boot package and what is known about its binaries.
pub(crate) struct Binaries {
    bytes: &'static [u8],
    memory: memory_object::Client,
    binaries: BTreeMap<String, Binary>,
    /// Binaries that were looked at: their image, or what is wrong with them.
    verified: RefCell<BTreeMap<String, Result<Rc<Image>, String>>>,
}

impl Binaries {
    /// Finds all binaries of a package.
    ///
    /// # Errors
    /// When the package is malformed.
    pub(crate) fn new(bytes: &'static [u8], memory: memory_object::Client) -> Result<Self, Error> {
        let binaries = package::binaries(bytes)?.into_iter().map(|binary| (binary.name.clone(), binary));
        Ok(Self { bytes, memory, binaries: binaries.collect(), verified: RefCell::default() })
    }

    /// The image of a binary that was started before.
    pub(crate) fn image(&self, name: &str) -> Option<Rc<Image>> {
        self.verified.borrow().get(name).and_then(|image| image.clone().ok())
    }

    /// Lends a verified binary to who starts it.
    ///
    /// # Errors
    /// In words: when there is no such binary, when its hash is wrong, when it cannot be loaded.
    pub(crate) fn verified(&self, name: &str) -> Result<Verified<'_>, String> {
        let binary =
            self.binaries.get(name).ok_or_else(|| format!("binary {name:?} is not in the boot package"))?;
        let bytes = self.bytes.get(binary.range.clone()).unwrap_or_default();
        let known = self.verified.borrow().get(name).cloned();
        let image = known.unwrap_or_else(|| {
            let result = verify(name, bytes, &binary.sha256);
            self.verified.borrow_mut().insert(name.into(), result.clone());
            result
        })?;
        Ok(Verified { image, bytes, memory: &self.memory, first_page: binary.first_page() })
    }
}

/// A binary whose hash is right and whose headers were checked.
pub(crate) struct Verified<'a> {
    image: Rc<Image>,
    bytes: &'a [u8],
    memory: &'a memory_object::Client,
    first_page: u32,
}

impl Verified<'_> {
    /// What the loader needs of it.
    pub(crate) fn program(&self) -> Program<'_> {
        Program { image: &self.image, bytes: self.bytes, package: self.memory, first_page: self.first_page }
    }
}

fn verify(name: &str, bytes: &[u8], sha256: &[u8; 32]) -> Result<Rc<Image>, String> {
    if Sha256::digest(bytes).as_slice() != sha256 {
        return Err(format!("binary {name:?} does not have the hash that the boot package says"));
    }
    let image = Image::parse(bytes).map_err(|error| format!("binary {name:?} cannot be loaded: {error}"))?;
    Ok(Rc::new(image))
}
