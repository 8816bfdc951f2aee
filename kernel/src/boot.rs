//! From the boot loader (Limine boot protocol) to the first thread.

use crate::arch::{cpu, processors};
use crate::iommu;
use crate::log_sink;
use crate::machine::{self, KernelMemory};
use crate::memory::{self, PAGE, PhysicalAddress, frames, kernel_space};
use crate::object::pci_function;
use crate::sync::Lock;
use crate::{COMMIT, VERSION, first_process, time};
use limine::BaseRevision;
use limine::request::{
    BootloaderInfoRequest, ExecutableAddressRequest, HhdmRequest, MemmapRequest, ModulesRequest, RsdpRequest,
};
use platform::io_apic::{self, IoApics};
use platform::local_apic::LocalApic;
use platform::pci::{self, Configuration, Functions};
use platform::power::PowerControl;
use platform::{Vector, acpi, clock, processor};

#[used]
#[unsafe(link_section = ".requests")]
static BASE_REVISION: BaseRevision = BaseRevision::with_revision(2);
#[used]
#[unsafe(link_section = ".requests")]
static HHDM: HhdmRequest = HhdmRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static MEMORY_MAP: MemmapRequest = MemmapRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static RSDP: RsdpRequest = RsdpRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static MODULES: ModulesRequest = ModulesRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static ADDRESS: ExecutableAddressRequest = ExecutableAddressRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static BOOT_LOADER: BootloaderInfoRequest = BootloaderInfoRequest::new();

/// Most measurements of the clocks until one is plausible.
const CLOCK_MEASUREMENTS: usize = 4;

static FUNCTIONS: Lock<Functions> = Lock::new(Functions::new_const());

/// Where the boot loader enters the kernel.
#[unsafe(no_mangle)]
extern "C" fn kernel_entry() -> ! {
    log_sink::init();
    log_sink::write_raw(format_args!("capos kernel starting {VERSION} {COMMIT}\n"));
    match boot() {
        Ok(cpu) => processors::enter_scheduler(cpu),
        Err(problem) => {
            log::error!("cannot boot: {problem}");
            processors::stop_here()
        }
    }
}

fn boot() -> Result<&'static cpu::Cpu, &'static str> {
    if !BASE_REVISION.is_supported() {
        return Err("the boot loader does not know base revision 2 of the Limine protocol");
    }
    let hhdm = HHDM.response().ok_or("the boot loader gave no direct map")?;
    memory::set_direct_map(hhdm.offset);
    let map = MEMORY_MAP.response().ok_or("the boot loader gave no memory map")?.entries();
    let address = ADDRESS.response().ok_or("the boot loader does not say where the kernel is")?;
    let (physical_base, virtual_base) = (address.physical_base, address.virtual_base);
    let module = MODULES.response().and_then(|modules| modules.modules().first().copied());
    let module = module.ok_or("the boot loader gave no boot package (module)")?;
    let package = PhysicalAddress((module.data().as_ptr() as u64).wrapping_sub(hhdm.offset));
    let package_bytes = module.data().len() as u64;
    // Read before the boot loader's memory could be anything else.
    let root_pointer = RSDP.response().map(|response| response.address as u64).map(|address| {
        // Base revision 2 gives a virtual address, later ones a physical one.
        platform::PhysicalAddress(if address >= hhdm.offset { address - hhdm.offset } else { address })
    });

    if !frames::init(map) {
        return Err("no memory for the frame bitmap");
    }
    machine::remember(map, physical_base, virtual_base);
    let processor = processor::identify();
    // SAFETY: once, on the boot processor, with the boot loader's tables active.
    unsafe { kernel_space::init(map, physical_base, virtual_base) }
        .map_err(|_| "no memory for page tables")?;

    let tables = machine::TABLES.call_once(|| acpi::read_tables(root_pointer, &KernelMemory));
    // SAFETY: ring 0, interrupts off, and nothing else uses the controllers.
    let local = unsafe {
        io_apic::disable_legacy_pics();
        LocalApic::new(&processor, &KernelMemory).map_err(|_| "the processor has no usable local APIC")?
    };
    local.enable(Vector(crate::arch::traps::SPURIOUS_VECTOR));
    // SAFETY: the local APIC was just enabled, and its timer is not used yet.
    let measure = || unsafe { clock::measure(&processor, tables, &KernelMemory, &local) };
    // A host that halts the machine in the middle of a measurement spoils it.
    let mut rates = measure();
    for _ in 1..CLOCK_MEASUREMENTS {
        if rates.local_apic_timer.is_some() {
            break;
        }
        rates = measure();
    }
    time::init(rates.tsc);
    let (own, mode) = (local.id(), local.mode());
    processors::init(local, &processor, &rates);
    let cpu =
        processors::make_current(0, own.0, processor.features).ok_or("no memory for the first processor")?;
    processors::enable_timer();

    // SAFETY: nothing else uses the I/O APICs or configuration space.
    unsafe {
        *machine::IO_APICS.lock() = IoApics::new(tables, &KernelMemory);
        machine::CONFIGURATION.call_once(|| Lock::new(Configuration::new(tables, KernelMemory)));
    }
    machine::POWER.call_once(|| PowerControl::new(tables, &KernelMemory));
    let boot_loader = BOOT_LOADER.response().map_or("unknown", |info| info.name());
    machine::DESCRIPTION.call_once(|| machine::Description {
        boot_loader,
        clock_source: rates.tsc_source.name(),
        processor: processor.brand,
    });
    let mut functions = FUNCTIONS.lock();
    if let Some(configuration) = machine::CONFIGURATION.get() {
        pci::enumerate(&mut *configuration.lock(), tables, &KernelMemory, &mut functions);
    }
    iommu::init(tables, mode, &functions);
    pci_function::init(&functions);
    processors::start_all(&tables.processors, &processor, &rates);
    log::info!(
        "{} processors, {} MiB, {} PCI functions, {}, {}",
        cpu::all().count(),
        (frames::total() as u64 * PAGE) >> 20,
        functions.len(),
        rates.tsc_source,
        processors::timer_name(),
    );
    drop(functions);
    first_process::start(package, package_bytes).map_err(|error| {
        log::error!("the boot package or its first process is not as it should be");
        error.reason
    })?;
    Ok(cpu)
}
