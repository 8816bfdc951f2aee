//! What a process can be told: by who holds it, by itself, and by who makes processes.

use super::{Exit, Process};
use crate::error::Error;
use crate::message::{Answer, Params};
use crate::object::Object;
use crate::object::account::{Charge, Quota};
use crate::object::call::{Call, Completion};
use crate::object::endpoint::Endpoint;
use crate::object::memory_object::MemoryObject;
use crate::object::message_buffer::MessageBuffer;
use crate::object::timer::Timer;
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use schema::process_capnp::{ExitCause, own_process, process, process_manager};

fn start_arguments(list: capnp::primitive_list::Reader<'_, u64>) -> Result<[u64; 6], Error> {
    let mut arguments = [0; 6];
    if list.len() as usize > arguments.len() {
        return Err(Error::failed("a thread takes at most six arguments"));
    }
    for (to, from) in arguments.iter_mut().zip(list.iter()) {
        *to = from;
    }
    Ok(arguments)
}

/// Serves `ProcessManager`.
pub fn invoke_manager(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(process_manager::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let create = params.root::<process_manager::create_params::Owned>()?;
            let name = create.get_name()?.to_str().map_err(|_| Error::failed("the name is not UTF-8"))?;
            let quota = create.get_quota()?;
            let quota = Quota {
                frames: quota.get_frames(),
                handles: quota.get_handles(),
                threads: quota.get_threads(),
                dma_pages: quota.get_dma_pages(),
            };
            let process = Process::new(name, quota, create.get_priority())?;
            answer.root::<process_manager::create_results::Owned>()?;
            answer.capability(0, Object::Process(process))
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Serves `Process`.
pub fn invoke(object: &Arc<Process>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(process::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            answer.root::<process::address_space_results::Owned>()?;
            answer.capability(0, Object::AddressSpace(object.space.clone()))?;
        }
        1 => {
            let capability = params.capability(0)?.clone_for_message()?;
            if let Object::PciFunction(function) = &capability {
                function.set_owner(object.id);
            }
            let handle = object.insert(capability)?;
            answer.root::<process::grant_results::Owned>()?.set_handle(handle);
        }
        2 => {
            let handle = object.insert(Object::OwnProcess(object.clone()))?;
            answer.root::<process::grant_own_process_results::Owned>()?.set_handle(handle);
        }
        3 => {
            let start = params.root::<process::start_params::Owned>()?;
            let thread = object.start_thread(
                start.get_entry(),
                start.get_stack_top(),
                start.get_message_buffer(),
                start_arguments(start.get_arguments()?)?,
            )?;
            answer.root::<process::start_results::Owned>()?;
            answer.capability(0, Object::Thread(thread))?;
        }
        4 => {
            object.end(Exit::new(ExitCause::Killed, 0));
            answer.root::<process::kill_results::Owned>()?;
        }
        5 => {
            let (exit, reaped) = {
                let lists = object.lists.lock();
                (lists.exit, lists.reaped)
            };
            let mut status = answer.root::<process::status_results::Owned>()?;
            status.set_id(object.id);
            status.set_reaped(reaped);
            object.write_usage(status.reborrow().init_usage());
            object.write_quota(status.reborrow().init_quota());
            let activity = object.activity();
            status.set_paused(activity.paused);
            status.set_running(activity.running);
            status.set_ready(activity.ready);
            let mut report = status.init_report();
            report.set_cause(exit.cause);
            report.set_code(exit.code);
            report.set_thread(exit.thread);
            report.set_instruction_address(exit.instruction);
            report.set_fault_address(exit.fault_address);
            report.set_stack_pointer(exit.stack);
            report.set_error_code(exit.error_code);
        }
        6 => {
            let Object::Signaller(signaller) = params.capability(0)? else { return Err(Error::WRONG_OBJECT) };
            object.on_exit(signaller.clone());
            answer.root::<process::on_exit_results::Owned>()?;
        }
        7 => {
            let pages = params.root::<process::memory_params::Owned>()?.get_pages();
            let memory = MemoryObject::new(&object.account, pages)?;
            answer.root::<process::memory_results::Owned>()?;
            answer.capability(0, Object::MemoryObject(memory))?;
        }
        8 => {
            object.pause();
            answer.root::<process::pause_results::Owned>()?;
        }
        9 => {
            object.resume();
            answer.root::<process::resume_results::Owned>()?;
        }
        10 => object.list_evidence(params, answer)?,
        11 => object.list_holdings(answer)?,
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

/// Serves `OwnProcess`.
pub fn invoke_own(object: &Arc<Process>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(own_process::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let endpoint = Endpoint::new(&object.account, object.id)?;
            answer.root::<own_process::endpoint_results::Owned>()?;
            answer.capability(0, Object::Endpoint(endpoint))?;
        }
        1 => {
            let notification = params.caller().notification.clone();
            answer.root::<own_process::notification_results::Owned>()?;
            answer.capability(0, Object::Notification(notification))?;
        }
        2 => {
            let call = params.root::<own_process::call_params::Owned>()?;
            let charge = Charge::object::<Call>(&object.account)?;
            let buffer = MessageBuffer::map(&object.space, &object.account, call.get_buffer())?;
            let completion = Completion::Signal {
                process: Arc::downgrade(object),
                notification: params.caller().notification.clone(),
                bits: call.get_bits(),
                address: call.get_buffer(),
                _charge: charge,
            };
            answer.root::<own_process::call_results::Owned>()?;
            answer.capability(0, Object::Call(Arc::new(Call::new(buffer, completion))))?;
        }
        3 => {
            let pages = params.root::<own_process::memory_params::Owned>()?.get_pages();
            let memory = MemoryObject::new(&object.account, pages)?;
            answer.root::<own_process::memory_results::Owned>()?;
            answer.capability(0, Object::MemoryObject(memory))?;
        }
        4 => {
            answer.root::<own_process::address_space_results::Owned>()?;
            answer.capability(0, Object::AddressSpace(object.space.clone()))?;
        }
        5 => {
            let start = params.root::<own_process::start_thread_params::Owned>()?;
            let thread = object.start_thread(
                start.get_entry(),
                start.get_stack_top(),
                start.get_message_buffer(),
                start_arguments(start.get_arguments()?)?,
            )?;
            answer.root::<own_process::start_thread_results::Owned>()?;
            answer.capability(0, Object::Thread(thread))?;
        }
        6 => {
            answer.root::<own_process::timer_results::Owned>()?;
            answer.capability(0, Object::Timer(Timer::new(&object.account)?))?;
        }
        7 => {
            let mut usage = answer.root::<own_process::usage_results::Owned>()?;
            usage.set_id(object.id);
            object.write_usage(usage.reborrow().init_usage());
            object.write_quota(usage.init_quota());
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
