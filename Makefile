# SPDX-License-Identifier: GPL-2.0
#
# What a person types. The module is built outside the tree, in build/<kernel version>/, a mirror of
# links to the sources, so that two kernels do not undo each other's objects; `make help` says the rest.

KERNEL	?= 6.12
HOST	?= amd
MODULE	?= strata

top	:= $(CURDIR)
B	:= $(top)/build
host	:= $(top)/tools/testing/host
tool	:= $(host)/strata-host
rooms	:= $(wildcard Kbuild arch virt include)

# The kernel to build for: KDIR if given, else the one of the emulated hosts.
kver	= $(shell $(tool) fetch $(1))
headers	= $(shell $(tool) fetch --headers $(1))
# The headers that all flavours share, which those of a kernel name in their Makefile
source	= $(shell sed -n 's|^include \(.*\)/Makefile$$|\1|p' $(1)/Makefile)
kdir	= $(if $(KDIR),$(KDIR),$(call headers,$(KERNEL)))
release	= $(shell $(MAKE) -s --no-print-directory -C $(1) kernelrelease 2>/dev/null)

jobs	= $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

STRICT	:= W=1 C=2 CF="-D__CHECK_ENDIAN__ -Wsparse-error" KCFLAGS=-Werror

.DEFAULT_GOAL := all
.PHONY: all help modules module-of run check check-unit check-build check-amd check-intel \
	check-bochs-amd selftests setup setup-build setup-docs setup-soak bench bench-events soak load unload install uninstall docs clean

all: modules

help:
	@sed -n 's/^## \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

## make [KDIR=/lib/modules/V/build] strata.ko for that kernel, else for the emulated hosts' 6.12
## make run                         boot a Linux guest on strata, on an emulated host:
##          HOST=amd|intel|bochs-amd  which (amd)          KERNEL=6.12|6.1  the host's kernel
##          GUEST_ARGS='...'          QEMU's arguments     GUEST_MEM=512 GUEST_SMP=1
##          MODULE=intree             on the in-tree kvm instead, to compare
##          TRACE=1                   leaves build/trace.txt and build/timeline.svg behind
## make check                       everything below; the last line is the count
## make check-unit                  the pure parts, compiled for userspace
## make check-build                 W=1 and sparse on 6.12 and 6.1, warnings fail
## make check-amd                   selftests on QEMU's AMD host
## make check-intel                 selftests on Bochs's Intel host
## make check-bochs-amd             selftests on Bochs's AMD host
## make soak                        the plans that take too long for check
## make bench [HOST=...]            strata beside the in-tree module, in instructions
## make bench-events [HOST=...]     what is lost when vCPUs are saved at signals: strata beside the in-tree module
## make docs                        HTML of Documentation/ into build/docs; warnings fail
## make clean                       remove what was built (keeps the kernels in build/kernels)
##
## On real hardware, as root; the kernel is the running one:
## make load | unload               until the next boot; keeps the in-tree kvm from loading
## make install | uninstall         for every boot, through DKMS where it is installed
##
## On an emulated host: tools/testing/host/strata-host --help

# --- Building --------------------------------------------------------------------------------------

# $(call mirror,directory): real directories, links to the sources, no link to a source that is gone.
define mirror
	@mkdir -p $(1) && cd $(top) && find $(rooms) -type d -exec mkdir -p $(addprefix $(1)/,{}) \; && \
	find $(rooms) -type f \( -name '*.[chS]' -o -name 'Kbuild*' -o -name Makefile \) \
		-exec ln -sfn $(top)/{} $(1)/{} \; && find $(1) -xtype l -delete
endef

define build
	$(call mirror,$(2))
	@test -e Kbuild || { echo "there is no Kbuild"; exit 1; }
	+$(MAKE) $(jobs) -C $(1) M=$(2) $(3) modules
endef

modules:
	@$(host)/setup $(if $(KDIR),module,build)
	$(MAKE) module-of KDIR=$(kdir)

module-of: O = $(B)/$(call release,$(KDIR))
module-of:
	$(call build,$(KDIR),$(O))
	@cp $(O)/strata.ko $(top)/strata.ko

modules-%: setup-build
	$(call build,$(call headers,$*),$(B)/$(call kver,$*))

# What selftests load into the host's kernel, with the module's own headers
test-modules-%: M = $(B)/$(call kver,$*)-test
test-modules-%: setup-build
	@mkdir -p $(M) && ln -sfn $(top)/arch $(top)/virt $(top)/include $(wildcard $(top)/tools/testing/modules/*) $(M)
	+$(MAKE) $(jobs) -C $(call headers,$*) M=$(M) KCFLAGS=-Werror modules

selftests: setup-build
	@if [ -e tools/testing/selftests/Makefile ]; then $(MAKE) $(jobs) -C tools/testing/selftests; fi

setup-soak:
	@$(host)/setup soak

setup-build:
	@$(host)/setup build

setup-docs:
	@$(host)/setup docs

# --- Running and checking --------------------------------------------------------------------------

setup:
	@$(host)/setup all

ifeq ($(MODULE),strata)
module-for-run = modules-$(KERNEL)
modules-for-check = modules-6.12 modules-6.1 test-modules-6.12 test-modules-6.1
endif

run: setup $(module-for-run)
	@$(tool) guest --host $(HOST) --kernel $(KERNEL) --module $(MODULE) \
		$(if $(GUEST_MEM),--guest-mem $(GUEST_MEM)) $(if $(GUEST_SMP),--guest-smp $(GUEST_SMP)) \
		$(if $(TRACE),--trace) $(if $(GUEST_ARGS),-- $(GUEST_ARGS))

step-unit = --step unit='$(MAKE) --no-print-directory -C tools/testing/unit check'
step-build = $(foreach k,6.12 6.1,--step build-$(k)='$(MAKE) --no-print-directory check-build-$(k)')
plans = $(tool) check $(if $(filter-out strata,$(MODULE)),--module $(MODULE))

check: setup setup-docs $(modules-for-check) selftests
	@$(plans) $(step-unit) $(step-build) --step docs='$(MAKE) --no-print-directory docs'

check-amd check-intel check-bochs-amd: check-%: setup $(modules-for-check) selftests
	@$(plans) $*

soak: setup-soak $(modules-for-check) selftests
	@$(plans) soak

check-unit: setup-build
	$(MAKE) -C tools/testing/unit check

check-build: check-build-6.12 check-build-6.1

check-build-%: setup-build
	$(call build,$(call headers,$*),$(B)/$(call kver,$*)-strict,$(STRICT))
	@tools/testing/mitigations $(B)/$(call kver,$*)-strict/strata.ko $(call source,$(call headers,$*))

bench: setup modules-$(KERNEL)
	@tools/bench/compare --host $(HOST) --kernel $(KERNEL)
	@[ $(HOST) = intel ] || tools/bench/compare --host $(HOST) --kernel $(KERNEL) --nested

bench-events: setup modules-$(KERNEL) selftests
	@tools/bench/events --host $(HOST)

# --- Real hosts ------------------------------------------------------------------------------------

running	:= /lib/modules/$(shell uname -r)/build

load:
	$(MAKE) modules KDIR=$(running)
	@$(host)/real-host load strata.ko

unload:
	@$(host)/real-host unload

install:
	@if ! command -v dkms > /dev/null; then $(MAKE) modules KDIR=$(running); fi
	@$(host)/real-host install $(top)

uninstall:
	@$(host)/real-host uninstall $(top)

# --- The rest --------------------------------------------------------------------------------------

docs: setup-docs
	sphinx-build -q -E -W --keep-going -b html -C -D project=strata -D root_doc=index Documentation $(B)/docs

clean:
	@if [ -d $(B) ]; then find $(B) -mindepth 1 -maxdepth 1 ! -name kernels -exec rm -rf {} +; fi
	@for dir in tools/testing/selftests tools/testing/unit tools/bench; do \
		if [ -e $$dir/Makefile ]; then $(MAKE) -s -C $$dir clean; fi; done
	@rm -f strata.ko
