//! Names that a disk has for machines. They follow from its content, so that the same inputs give the same disk, and
//! two different disks can be in one machine.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::disk::Content;

/// The hash that all of a disk's names are made of.
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of a disk with this content.
    pub fn of(content: &Content, sectors: u64) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(&sectors.to_le_bytes());
        for file in &content.files {
            add(file.path().as_bytes());
            add(file.bytes());
        }
        if let Some(bios) = &content.bios {
            add(&bios.boot);
            add(&bios.core);
        }
        Self(hash.finalize().into())
    }

    /// A GUID for one use: version 8, which leaves the choice of the bits to its maker [RFC 9562 5.8].
    pub fn guid(&self, name: &str) -> Uuid {
        let bytes = self.derive(name);
        Uuid::new_v8(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// The FAT volume's serial number.
    pub fn volume_id(&self) -> u32 {
        u32::from_le_bytes(self.derive("volume").first_chunk().copied().unwrap_or_default())
    }

    fn derive(&self, name: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(name).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::disk::File, *};

    fn identity(path: &str, byte: u8, sectors: u64) -> Identity {
        let files = vec![File::new(path, vec![byte; 10])];
        Identity::of(&Content { files, ..Content::default() }, sectors)
    }

    #[test]
    fn the_same_content_has_the_same_names() {
        assert_eq!(identity("a", 1, 9).guid("disk"), identity("a", 1, 9).guid("disk"));
        assert_eq!(identity("a", 1, 9).volume_id(), identity("a", 1, 9).volume_id());
        assert_eq!(identity("a", 1, 9).guid("disk").get_version_num(), 8);
    }

    #[test]
    fn anything_else_has_other_names() {
        let guid = identity("a", 1, 9).guid("disk");
        let others = [
            identity("b", 1, 9).guid("disk"),
            identity("a", 2, 9).guid("disk"),
            identity("a", 1, 8).guid("disk"),
            identity("a", 1, 9).guid("data"),
        ];
        assert!(others.iter().all(|other| *other != guid), "{guid} {others:?}");
    }
}
