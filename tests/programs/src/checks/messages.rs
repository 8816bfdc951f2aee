//! Messages and handles that no generated code would send: each is an error to who sent it.

use super::{Bench, NO_FIELDS, Request, Verdict, capability, root, same, succeeded, text};
use crate::raw;
use abi::{MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageInfo, Status};
use capnp::traits::HasTypeId;
use schema::{memory_capnp::address_space, process_capnp::own_process};

/// Ordinals in the schema.
const OWN_USAGE: u16 = 7;
const MAP: u16 = 0;

const OWN: u64 = own_process::Client::TYPE_ID;

fn usage(target: u32) -> Request<'static> {
    Request {
        target,
        interface: OWN,
        info: MessageInfo::new(OWN_USAGE, 1, 0),
        words: NO_FIELDS,
        capabilities: &[],
    }
}

/// A handle that was never given out.
pub async fn wild_handle(bench: &Bench) -> Verdict {
    for target in [0, 1 << 15, 0xdead_beef, u32::MAX] {
        bench.refused(usage(target), Status::Failed, "bad handle").await?;
    }
    same(raw::close(0xdead_beef), Status::Failed)?;
    same(raw::signal(0xdead_beef, 1), Status::Failed)
}

/// A handle that was closed does not name what is in its place now.
pub async fn closed_handle(bench: &Bench) -> Verdict {
    let old = rt::memory::allocate(1).await.map_err(text)?;
    let handle = raw::handle(&old);
    drop(old);
    let new = rt::memory::allocate(1).await.map_err(text)?;
    let place = |handle| abi::handle_index(handle);
    same(place(raw::handle(&new)), place(handle))?;
    bench.refused(usage(handle), Status::Failed, "bad handle").await?;
    same(raw::close(handle), Status::Failed)
}

/// System calls on objects of another kind.
pub async fn wrong_kind_of_handle(bench: &Bench) -> Verdict {
    let own = raw::handle(&bench.own);
    same(raw::signal(own, 1), Status::Failed)?;
    let port_read = abi::Syscall::PortRead as u64;
    same(raw::system_call(port_read, [own.into(), 1 << 16, 0, 0, 0]), Status::Failed as u64)?;
    let cancel = abi::Syscall::Cancel as u64;
    same(raw::system_call(cancel, [own.into(), 0, 0, 0, 0]), Status::Failed as u64)
}

/// An interface that the object does not have.
pub async fn wrong_interface(bench: &Bench) -> Verdict {
    let request = Request { interface: address_space::Client::TYPE_ID, ..usage(raw::handle(&bench.own)) };
    bench.refused(request, Status::Unimplemented, "the object does not have this interface").await
}

/// A method that the interface does not have.
pub async fn unknown_method(bench: &Bench) -> Verdict {
    for method in [8, 999, u16::MAX] {
        let request = Request { info: MessageInfo::new(method, 1, 0), ..usage(raw::handle(&bench.own)) };
        bench.refused(request, Status::Unimplemented, "no such method").await?;
    }
    Ok(())
}

/// A system call number that means nothing.
pub async fn unknown_system_call(_: &Bench) -> Verdict {
    for number in [100, u64::from(u32::MAX), u64::MAX] {
        same(raw::system_call(number, [0; 5]), Status::Unimplemented as u64)?;
    }
    Ok(())
}

fn map(bench: &Bench, pointer: u64) -> ([u64; 5], u32) {
    ([root(3, 1), 1 << 32, super::FREE, 0, pointer], raw::handle(&bench.space))
}

/// A pointer to a capability that the message does not carry.
pub async fn missing_capability(bench: &Bench) -> Verdict {
    for pointer in [capability(0), capability(7), capability(0xffff_ffff), 0, 7] {
        let (words, target) = map(bench, pointer);
        let request = Request {
            target,
            interface: address_space::Client::TYPE_ID,
            info: MessageInfo::new(MAP, 5, 0),
            words: &words,
            capabilities: &[],
        };
        bench.refused(request, Status::Failed, "a capability is missing").await?;
    }
    Ok(())
}

/// A handle in a message that names nothing.
pub async fn wild_capability(bench: &Bench) -> Verdict {
    let (words, target) = map(bench, capability(0));
    let request = Request {
        target,
        interface: address_space::Client::TYPE_ID,
        info: MessageInfo::new(MAP, 5, 1),
        words: &words,
        capabilities: &[0xdead_beef],
    };
    bench.refused(request, Status::Failed, "bad handle").await
}

/// More words than a message can have.
pub async fn too_many_words(bench: &Bench) -> Verdict {
    for words in [MAXIMUM_WORDS as u16 + 1, u16::MAX] {
        for target in [raw::handle(&bench.own), raw::handle(&bench.echo)] {
            let request = Request { info: MessageInfo::new(OWN_USAGE, words, 0), ..usage(target) };
            bench.refused(request, Status::Failed, "the message is too large").await?;
        }
    }
    Ok(())
}

/// More capabilities than a message can have.
pub async fn too_many_capabilities(bench: &Bench) -> Verdict {
    for capabilities in [MAXIMUM_CAPABILITIES as u8 + 1, u8::MAX] {
        for target in [raw::handle(&bench.own), raw::handle(&bench.echo)] {
            let request = Request { info: MessageInfo::new(OWN_USAGE, 1, capabilities), ..usage(target) };
            bench.refused(request, Status::Failed, "the message is too large").await?;
        }
    }
    Ok(())
}

/// Pointers that lead out of the message, and kinds of pointers that a root cannot be.
pub async fn pointer_out_of_message(bench: &Bench) -> Verdict {
    let far_behind = root(3, 1) | 0x1000 << 2;
    let before_start = root(3, 1) | 0xffff_fff0 << 2;
    let list = 1 | 7 << 32 | 0x1fff_ffff << 35;
    let far_pointer = 2 | 5 << 32;
    for first in [far_behind, before_start, list, far_pointer, u64::MAX] {
        let request = Request {
            target: raw::handle(&bench.space),
            interface: address_space::Client::TYPE_ID,
            info: MessageInfo::new(MAP, 1, 0),
            words: &[first],
            capabilities: &[],
        };
        // It is refused for its form, or for the capability that it cannot name.
        let answer =
            bench.call.call(request.target, request.interface, request.info, request.words, &[]).await;
        same(answer.status, Status::Failed)?;
    }
    Ok(())
}

/// A message without a root is one whose fields all have their defaults.
pub async fn empty_message(bench: &Bench) -> Verdict {
    let own = raw::handle(&bench.own);
    for words in [0, 1] {
        succeeded(&bench.call.call(own, OWN, MessageInfo::new(OWN_USAGE, words, 0), &[0], &[]).await)?;
    }
    Ok(())
}

/// What is bound to its process cannot leave it.
pub async fn endpoint_cannot_be_sent(bench: &Bench) -> Verdict {
    let endpoint = bench.own.endpoint_request().send().promise.await.map_err(text)?;
    let endpoint = endpoint.get().and_then(|answer| answer.get_endpoint()).map_err(text)?;
    for sent in [raw::handle(&endpoint), raw::handle(&bench.own)] {
        let (words, target) = map(bench, capability(0));
        let request = Request {
            target,
            interface: address_space::Client::TYPE_ID,
            info: MessageInfo::new(MAP, 5, 1),
            words: &words,
            capabilities: &[sent],
        };
        bench.refused(request, Status::Failed, "this capability cannot be sent").await?;
    }
    Ok(())
}
