// SPDX-License-Identifier: GPL-2.0
/*
 * What: a host that uses supervisor state components (IA32_XSS is not 0 on its CPUs when the module
 * is loaded), and guests that are offered XSAVES.
 * Conditions: root, the host lists the modules it loaded in /modules/list and those for
 * /dev/cpu/N/msr in /modules-msr/list; its kernel uses XSAVES, and its CPUs know a component that
 * the kernel does not use.
 * Expected: XSAVES of the guest stores no component of the host's, and after each exit to userspace
 * IA32_XSS is what it was.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "module.h"
#include "power.h"

#define IA32_XSS	0xda0
#define ROUNDS		20
#define COMPACTED	(1ull << 63)
#define XCOMP_BV	(520 / 8)	/* in units of u64 */

static u64 area[512] __attribute__((aligned(64)));

/* What XSAVES stores is what both the instruction and XCR0 | IA32_XSS ask for. */
static void guest_saves(void)
{
	u32 regs[4];

	write_cr4(read_cr4() | CR4_OSXSAVE);
	for (;;) {
		area[XCOMP_BV] = 0;
		asm volatile("xsaves (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
		guest_sync(area[XCOMP_BV]);
		cpuid(0, 0, regs);	/* an exit for the kernel */
	}
}

static int open_msr(int cpu)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", cpu);
	return open(path, O_RDWR | O_CLOEXEC);
}

static u64 xss_read(int cpu)
{
	u64 value = ~0ull;
	int fd = open_msr(cpu);

	REQUIRE(fd >= 0 && pread(fd, &value, sizeof(value), IA32_XSS) == sizeof(value));
	close(fd);
	return value;
}

static bool xss_write(int cpu, u64 value)
{
	int fd = open_msr(cpu);
	bool done = fd >= 0 && pwrite(fd, &value, sizeof(value), IA32_XSS) == sizeof(value);

	close(fd);
	return done;
}

static bool kernel_has_xsaves(void)
{
	char line[8192];
	FILE *file = fopen("/proc/cpuinfo", "r");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = !strncmp(line, "flags", 5) && strstr(line, " xsaves");
	if (file)
		fclose(file);
	return found;
}

static void load_msr_device(void)
{
	struct module modules[MAX_MODULES];
	int i, n = module_list("/modules-msr/list", modules);

	if (!n)
		tap_skip("no /modules-msr/list");
	for (i = 0; i < n; i++)
		module_load(&modules[i]);
	REQUIRE(sysfs_write("/sys/module/msr/parameters/allow_writes", "on"));
}

/*
 * A component that the CPU takes (Bochs' CPUID leaves out some) and the kernel does not use; 0:
 * none
 */
static u64 component(u64 used)
{
	u64 bit;

	for (bit = 1ull << 8; bit < 1ull << 17; bit <<= 1) {
		if (!(used & bit) && xss_write(0, used | bit)) {
			REQUIRE(xss_write(0, used));
			return bit;
		}
	}
	return 0;
}

static void guest_and_host(u64 host)
{
	struct vm *vm = vm_create(1);
	cpu_set_t here;
	int i, cpu;

	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vm->vcpu, guest_saves, 0);
	for (i = 0; i < ROUNDS; i++) {
		cpu = i % sysconf(_SC_NPROCESSORS_ONLN);
		CPU_ZERO(&here);
		CPU_SET(cpu, &here);
		REQUIRE(!sched_setaffinity(0, sizeof(here), &here));
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(vcpu_sync_value(vm->vcpu), COMPACTED | 1);
		CHECK_EQ(xss_read(cpu), host);
	}
	vm_destroy(vm);
}

TEST(supervisor_state_of_the_host)
{
	struct module modules[MAX_MODULES], *m;
	int n = module_list("/modules/list", modules), cpu, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	u64 old, add;

	if (!n)
		tap_skip("no /modules/list");
	if (!kernel_has_xsaves())
		tap_skip("the kernel does not use XSAVES");
	load_msr_device();
	old = xss_read(0);
	add = component(old);
	if (!add)
		tap_skip("the CPU has no supervisor state component but the kernel's");
	m = &modules[n - 1];
	REQUIRE_EQ(module_unload_patiently(m), 0);
	for (cpu = 0; cpu < cpus; cpu++)
		REQUIRE(xss_write(cpu, old | add));
	tap_note("IA32_XSS %#lx", (unsigned long)(old | add));
	REQUIRE_EQ(module_load(m), 0);
	guest_and_host(old | add);
	REQUIRE_EQ(module_unload_patiently(m), 0);
	for (cpu = 0; cpu < cpus; cpu++)
		REQUIRE(xss_write(cpu, old));
	REQUIRE_EQ(module_load(m), 0);
}
