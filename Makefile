# The front door of capOS: `make help` lists what there is.

MANIFEST ?= manifests/default.capnp
# direct: QEMU loads the kernel itself. grub, limine: a disk image with that boot loader.
LOADER ?= direct
# Passed to the tools: a smoke scenario's name or part of it, more options of `run`.
NAME ?=
RUN ?=

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
SETUP := $(CARGO_TARGET_DIR)/setup
-include $(SETUP)/compiler.mk

PROGRAMS := init $(notdir $(wildcard drivers/*)) $(notdir $(wildcard services/*)) test-programs
STD := -Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
BARE := RUSTC=$(BARE_RUSTC) RUSTC_BOOTSTRAP=1 \
	CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER=ld.lld CARGO_TARGET_X86_64_CAPOS_LINKER=ld.lld
KERNEL_TARGET := $(STD) --release --target x86_64-unknown-none -p kernel -p loader
PROGRAM_TARGET := $(STD) $(JSON_TARGET) --release --target targets/x86_64-capos.json $(addprefix -p ,$(PROGRAMS))
TOOLS := cargo run -q --release -p capos-tools --

export CAPOS_COMMIT := $(shell git describe --always --abbrev=12 --dirty --exclude '*' 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help setup build kernel programs tools package image run run-disk run-disk-bios run-net test check format \
	lint docs unit smoke graph bench clean

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(SETUP)/test ## Installs and chooses all that building, running and testing need

# One stamp a level: what has been set up is not looked at again.
$(SETUP)/build $(SETUP)/run $(SETUP)/test: $(wildcard tools/setup/*.sh)
	@tools/setup/setup.sh $(SETUP) $(@F)
	@touch $@

build: kernel programs tools ## Builds everything

kernel: $(SETUP)/build ## Builds kernel and loader
	@$(MAKE) --no-print-directory in-kernel

programs: $(SETUP)/build ## Builds init, drivers, services and the tests' programs
	@$(MAKE) --no-print-directory in-programs

tools: $(SETUP)/build ## Builds the host tools
	cargo build --release -p capos-tools

# By a second make, which knows the compiler that the set-up chose.
.PHONY: in-kernel in-programs in-lint
in-kernel:
	$(BARE) cargo build $(KERNEL_TARGET)
in-programs:
	$(BARE) cargo build $(PROGRAM_TARGET)

package: build ## Checks and packs MANIFEST
	$(TOOLS) package --manifest $(MANIFEST)

run: build $(SETUP)/run ## Boots MANIFEST in QEMU by LOADER; the page is at http://127.0.0.1:8080/
ifeq ($(LOADER),direct)
	$(TOOLS) run --manifest $(MANIFEST) $(RUN)
else
	$(TOOLS) run --manifest $(MANIFEST) --disk $(LOADER) $(RUN)
endif

clean: ## Removes all that was built
	cargo clean
	rm -rf $(SETUP)
