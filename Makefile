# The front door of capOS: `make help` lists what there is.

# What is booted, drawn and packed.
MANIFEST ?= manifests/default.capnp
# direct: QEMU loads the kernel itself. grub, limine: from a disk image with that boot loader.
LOADER ?= direct
DISK_LOADER = $(if $(filter direct,$(LOADER)),grub,$(LOADER))
# What starts a disk: uefi or bios.
FIRMWARE ?= uefi
# Size of the disk image in MiB.
IMAGE_SIZE ?= 256
# What verify-provenance checks, and against which record; by default what build-provenance wrote.
IMAGE ?=
RECORD ?=
# Smoke scenarios: those whose names contain one of these words; all when empty. Parts of the benchmarks, as network.
NAME ?=
# Results of benchmarks to compare with; by default the last ones.
BASELINE ?=
# Any word: benchmarks measure Debian's cloud kernel too, which apt downloads.
LINUX ?=
# A campaign of faults: how many, by which seed, who is hit, what by, and which injection alone.
N ?= 60
SEED ?= 1
TARGET ?=
FAULTS ?=
ONLY ?=
# More options of the tool's `run`, as --smp 4 --memory 128 --nic legacy.
RUN ?=

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
SETUP := $(CARGO_TARGET_DIR)/setup
-include $(SETUP)/compiler.mk

PROGRAMS := init $(shell grep -hm1 '^name = ' drivers/*/Cargo.toml services/*/Cargo.toml tests/*/Cargo.toml | cut -d'"' -f2)
STD := -Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
# The wrapper keeps the names of folders out of what is built.
BARE := RUSTC=$(BARE_RUSTC) RUSTC_WRAPPER=$(CURDIR)/tools/setup/rustc.sh RUSTC_BOOTSTRAP=1 \
	CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER=ld.lld CARGO_TARGET_X86_64_CAPOS_LINKER=ld.lld
FOR_KERNEL := $(STD) --release --target x86_64-unknown-none -p kernel -p loader
FOR_PROGRAMS := $(STD) $(JSON_TARGET) --release --target targets/x86_64-capos.json $(addprefix -p ,$(PROGRAMS))
# Everything that builds for the host: all but the kernel itself, whose parts with logic are crates of their own.
FOR_HOST := --workspace --exclude kernel
TOOLS := cargo run --quiet -p capos-tools --

export CAPOS_COMMIT := $(shell git describe --always --abbrev=12 --dirty --exclude '*' 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help setup build kernel programs tools package image capos-cloudboot-image package-gcp-image \
	package-aws-image package-azure-image package-cloud-image build-provenance verify-provenance reproduce \
	run-cloud-images run run-disk run-disk-bios run-net run-nvme run-virtio-blk run-virtio-scsi run-uart run-gce-like \
	check format lint docs test unit smoke graph bench faults clean

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 32
	@echo; echo "  Variables: MANIFEST=$(MANIFEST) LOADER=direct|grub|limine FIRMWARE=uefi|bios IMAGE_SIZE=$(IMAGE_SIZE) IMAGE= RECORD= NAME= N= SEED= TARGET= FAULTS= ONLY= RUN="

setup: $(SETUP)/test ## Installs and chooses all that building, running and testing need

# One stamp for each level: what has been set up is not looked at again.
$(SETUP)/build $(SETUP)/run $(SETUP)/test: $(wildcard tools/setup/*.sh)
	@tools/setup/setup.sh $(SETUP) $(@F)
	@touch $@

build: kernel programs tools ## Builds everything

# A second make knows the compiler that the set-up chose.
kernel: $(SETUP)/build ## Builds kernel and loader
	@$(MAKE) --no-print-directory in-kernel

programs: $(SETUP)/build ## Builds init, drivers, services and the tests' programs
	@$(MAKE) --no-print-directory in-programs

tools: $(SETUP)/build ## Builds the host tools
	cargo build -p capos-tools

faults: build $(SETUP)/test ## Injects N faults into drivers by SEED; TARGET= and FAULTS= choose (see docs/testing.md)
	$(TOOLS) faults --count $(N) --seed $(SEED) $(if $(TARGET),--target $(TARGET)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(ONLY),--only $(ONLY))

.PHONY: in-kernel in-programs in-lint
in-kernel:
	$(BARE) cargo build $(FOR_KERNEL)
in-programs:
	$(BARE) cargo build $(FOR_PROGRAMS)

package: build ## Checks MANIFEST and packs it with its programs
	$(TOOLS) package --manifest $(MANIFEST)

image: build $(SETUP)/run ## Writes capos-image.raw, a disk that boots MANIFEST by LOADER (grub or limine)
	$(TOOLS) image --manifest $(MANIFEST) --loader $(DISK_LOADER) --size $(IMAGE_SIZE)

capos-cloudboot-image: build $(SETUP)/run ## Writes disk.raw, a disk of 10 GiB, and capos-disk.tar.gz for Compute Engine
	$(TOOLS) cloudboot-image --manifest $(MANIFEST) --loader $(DISK_LOADER)

package-gcp-image: image ## Packages the disk image as Compute Engine imports it
	$(TOOLS) package-image gcp

package-aws-image: image ## Packages the disk image as EC2 imports it: raw, VHD, VMDK
	$(TOOLS) package-image aws

package-azure-image: image ## Packages the disk image as Azure imports it
	$(TOOLS) package-image azure

package-cloud-image: image ## Packages the disk image for all clouds
	$(TOOLS) package-image

build-provenance: image ## Writes what the disk image was made of and with, and an SBOM, beside it
	$(TOOLS) build-provenance --manifest $(MANIFEST) --loader $(DISK_LOADER) --compiler $(BARE_RUSTC)

verify-provenance: tools ## Checks IMAGE (by default the disk image), raw or packaged, against RECORD
	$(TOOLS) verify-provenance $(if $(IMAGE),--image $(IMAGE)) $(if $(RECORD),--record $(RECORD))

reproduce: image ## Builds the disk image again in another folder, and compares
	tools/reproduce.sh $(CARGO_TARGET_DIR)/capos-image.raw MANIFEST=$(MANIFEST) LOADER=$(LOADER) IMAGE_SIZE=$(IMAGE_SIZE)

run-cloud-images: package-cloud-image capos-cloudboot-image $(SETUP)/test ## Boots all packaged files by UEFI and BIOS
	$(TOOLS) run-cloud-images

run: build $(SETUP)/run ## Boots MANIFEST in QEMU; the page is at http://127.0.0.1:8080/
	$(TOOLS) run --manifest $(MANIFEST) \
		$(if $(filter direct,$(LOADER)),,--disk $(LOADER) --size $(IMAGE_SIZE) --firmware $(FIRMWARE)) $(RUN)

run-disk: ## Boots MANIFEST from a disk by GRUB (or LOADER=limine) and UEFI
	@$(MAKE) --no-print-directory run LOADER=$(DISK_LOADER) FIRMWARE=uefi

run-disk-bios: ## Boots MANIFEST from a disk by GRUB (or LOADER=limine) and BIOS
	@$(MAKE) --no-print-directory run LOADER=$(DISK_LOADER) FIRMWARE=bios

run-net: build $(SETUP)/test ## Smoke tests of the network card's driver
	$(TOOLS) smoke net-

run-virtio-blk: build $(SETUP)/test ## Smoke tests of the driver of virtio block devices
	$(TOOLS) smoke block-virtio-blk

run-virtio-scsi: build $(SETUP)/test ## Smoke tests of the driver of virtio SCSI hosts
	$(TOOLS) smoke block-virtio-scsi

run-nvme: build $(SETUP)/test ## Smoke tests of the NVMe driver
	$(TOOLS) smoke block-nvme-

run-uart: build $(SETUP)/test ## Smoke tests of the serial port's driver, and of the prompt on it
	$(TOOLS) smoke uart- diag-

run-gce-like: build $(SETUP)/test ## Boots a machine like Compute Engine's, and looks at its page from behind the gateway
	$(TOOLS) smoke gce-like

check: format lint docs test ## Everything that a submission must pass

format: $(SETUP)/test ## Checks how the code is laid out
	cargo fmt --all --check
	shellcheck tools/setup/*.sh tools/*.sh .ci/run

lint: $(SETUP)/test ## Lints everything, warnings denied
	@$(MAKE) --no-print-directory in-lint
in-lint:
	cargo clippy $(FOR_HOST) --lib --tests -- -D warnings
	cargo clippy -p capos-tools -p bench-linux --bins -- -D warnings
	$(BARE) $(BARE_CLIPPY) clippy $(FOR_KERNEL) -- -D warnings
	$(BARE) $(BARE_CLIPPY) clippy $(FOR_PROGRAMS) -- -D warnings

docs: $(SETUP)/build ## Builds the code's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc $(FOR_HOST) --lib --no-deps --quiet
	RUSTDOCFLAGS="-D warnings" cargo doc -p capos-tools --document-private-items --no-deps --quiet

test: unit smoke ## Unit tests and smoke tests

unit: build ## Tests on the host
	cargo test $(FOR_HOST)

smoke: build $(SETUP)/test ## Boots the system in QEMU and looks at it from outside
	$(TOOLS) smoke $(NAME)

graph: $(SETUP)/build ## Draws who holds what in MANIFEST, as SVG in the build folder
	$(TOOLS) graph $(MANIFEST) $(CARGO_TARGET_DIR)/graph/$(basename $(notdir $(MANIFEST))).svg

bench: build $(SETUP)/run ## Counts instructions and compares them with the limits
	$(TOOLS) bench $(NAME) $(if $(BASELINE),--baseline $(BASELINE)) $(if $(LINUX),--linux)

clean: ## Removes all that was built, and what was chosen at set-up
	rm -rf $(CARGO_TARGET_DIR)
