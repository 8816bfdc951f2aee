//! What interfaces and methods are called in the schemas, by the numbers that a call has.

use core::fmt;

/// One interface.
#[derive(Debug)]
pub struct Interface {
    /// Its id.
    pub id: u64,
    /// Its name; one that is declared in another has that one's name before it.
    pub name: &'static str,
    /// Its methods' names, by number.
    pub methods: &'static [&'static str],
}

/// Every interface of `schema/*.capnp`, by id.
pub static INTERFACES: &[Interface] = include!(concat!(env!("OUT_DIR"), "/interfaces.rs"));

/// The interface with this id, if it is one of the schemas'.
pub fn interface(id: u64) -> Option<&'static Interface> {
    let place = INTERFACES.binary_search_by_key(&id, |interface| interface.id).ok()?;
    INTERFACES.get(place)
}

/// A method of an interface, shown by its name: `BlockDevice.open`. What the schemas do not have is shown by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Id of the interface.
    pub interface: u64,
    /// Number of the method.
    pub method: u16,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(interface) = interface(self.interface) else {
            return write!(formatter, "interface {:#x} method {}", self.interface, self.method);
        };
        match interface.methods.get(usize::from(self.method)) {
            Some(method) => write!(formatter, "{}.{method}", interface.name),
            None => write!(formatter, "{} method {}", interface.name, self.method),
        }
    }
}

#[cfg(test)]
mod tests;
