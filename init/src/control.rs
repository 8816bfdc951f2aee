//! `SupervisorControl`: kills processes, and for tests makes them hang and spoils their memory.

use crate::{servers::name, system::System};
use alloc::{format, rc::Rc, string::String};
use capnp::{Error, capability, text};
use schema::{memory_capnp::address_space, process_capnp::process, supervisor_capnp::supervisor_control};
use supervision::Unit;

/// Most bytes of one copy: a message less what is around them here.
const MAXIMUM_COPY: usize = 3800;

/// Control over all processes of the system.
pub(crate) struct Control {
    system: Rc<System>,
}

impl Control {
    /// For all processes of the system.
    pub(crate) fn new(system: Rc<System>) -> Self {
        Self { system }
    }

    fn unit(&self, reader: text::Reader<'_>) -> Result<(String, Unit), Error> {
        let name = name(reader)?;
        let unit = self.system.manifest.position(&name);
        let unit = unit.ok_or_else(|| Error::failed(format!("there is no process {name:?}")))?;
        Ok((name, unit))
    }

    fn process(&self, reader: text::Reader<'_>) -> Result<process::Client, Error> {
        let (name, unit) = self.unit(reader)?;
        self.system.process(unit).ok_or_else(|| Error::failed(format!("{name} does not run")))
    }

    async fn space(&self, reader: text::Reader<'_>) -> Result<address_space::Client, Error> {
        self.process(reader)?.address_space_request().send().promise.await?.get()?.get_space()
    }
}

impl supervisor_control::Server for Control {
    async fn kill(
        self: capability::Rc<Self>,
        parameters: supervisor_control::KillParams,
        _: supervisor_control::KillResults,
    ) -> Result<(), Error> {
        let (_, unit) = self.unit(parameters.get()?.get_name()?)?;
        self.system.dispatch(|supervision, _| supervision.kill(unit));
        Ok(())
    }

    async fn pause(
        self: capability::Rc<Self>,
        parameters: supervisor_control::PauseParams,
        _: supervisor_control::PauseResults,
    ) -> Result<(), Error> {
        self.process(parameters.get()?.get_name()?)?.pause_request().send().promise.await.map(drop)
    }

    async fn resume(
        self: capability::Rc<Self>,
        parameters: supervisor_control::ResumeParams,
        _: supervisor_control::ResumeResults,
    ) -> Result<(), Error> {
        self.process(parameters.get()?.get_name()?)?.resume_request().send().promise.await.map(drop)
    }

    async fn read(
        self: capability::Rc<Self>,
        parameters: supervisor_control::ReadParams,
        mut results: supervisor_control::ReadResults,
    ) -> Result<(), Error> {
        let parameters = parameters.get()?;
        if parameters.get_length() as usize > MAXIMUM_COPY {
            return Err(too_long());
        }
        let mut request = self.space(parameters.get_name()?).await?.read_request();
        request.get().set_address(parameters.get_address());
        request.get().set_length(parameters.get_length());
        results.get().set_data(request.send().promise.await?.get()?.get_data()?);
        Ok(())
    }

    async fn write(
        self: capability::Rc<Self>,
        parameters: supervisor_control::WriteParams,
        _: supervisor_control::WriteResults,
    ) -> Result<(), Error> {
        let parameters = parameters.get()?;
        let data = parameters.get_data()?;
        if data.len() > MAXIMUM_COPY {
            return Err(too_long());
        }
        let mut request = self.space(parameters.get_name()?).await?.write_request();
        request.get().set_address(parameters.get_address());
        request.get().set_data(data);
        request.send().promise.await.map(drop)
    }

    async fn mappings(
        self: capability::Rc<Self>,
        parameters: supervisor_control::MappingsParams,
        mut results: supervisor_control::MappingsResults,
    ) -> Result<(), Error> {
        let parameters = parameters.get()?;
        let mut request = self.space(parameters.get_name()?).await?.mappings_request();
        request.get().set_start(parameters.get_start());
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        let mut results = results.get();
        results.set_mappings(answer.get_mappings()?)?;
        results.set_next(answer.get_next());
        Ok(())
    }
}

fn too_long() -> Error {
    Error::failed(format!("a copy has at most {MAXIMUM_COPY} bytes"))
}
