// SPDX-License-Identifier: GPL-2.0
/*
 * What: instructions that VMX lets a guest execute, or not, by controls: RDTSCP, RDPID, INVPCID,
 * XSAVES, and those that are never offered: SGX's, WAITPKG's, MONITOR and MWAIT, SMX's, VMX's own.
 * Loops of PAUSE. The module's parameters.
 * Conditions: VMX; trace histograms for the loops.
 * Expected: with the feature in its CPUID the guest executes the instruction; without it, and where
 * it is never offered, there is #UD. CR4 takes UMIP where CPUID shows it only. Loops of PAUSE exit
 * where the module says that it uses PAUSE-loop exiting, and not if userspace disables it. A
 * control whose parameter is off is not used.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "kmsg.h"
#include "param.h"
#include "power.h"
#include "tracefs.h"

#define CR4_UMIP	(1ull << 11)
#define CR4_OSXSAVE	(1ull << 18)
#define NONE		(-1ull)

enum { RDTSCP, RDPID, INVPCID, XSAVE, XSAVES, UMIP, NR };

static const struct {
	u32 leaf, index, reg, bit;
} features[NR] = {
	[RDTSCP]	= { 0x80000001, 0, 3, 27 },
	[RDPID]		= { 7, 0, 2, 22 },
	[INVPCID]	= { 7, 0, 1, 10 },
	[XSAVE]		= { 1, 0, 2, 26 },
	[XSAVES]	= { 0xd, 1, 0, 3 },
	[UMIP]		= { 7, 0, 2, 2 },
};

static volatile u64 shown;
static u64 descriptor[2] __attribute__((used));
static u8 area[1024] __attribute__((aligned(64), used));

/* The vector that the feature's instructions raise */
#define EXPECT(feature, insn) GUEST_ASSERT_FAULTS(shown & 1 << (feature) ? NONE : UD_VECTOR, insn)
#define NEVER(insn) GUEST_ASSERT_FAULTS(UD_VECTOR, insn)

static u64 cr4_try(u64 set)
{
	u64 cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile(TRY_HEAD "mov %0, %%cr4" TRY_TAIL : : "r"(cr4 | set) : "memory");
	return this_cpu()->vector;
}

static void guest_offered(void)
{
	/* One control is for both. */
	EXPECT(RDTSCP, "rdtscp");
	EXPECT(RDPID, "rdpid %%rax");
	EXPECT(INVPCID, "mov $2, %%eax; mov $descriptor, %%rcx; invpcid (%%rcx), %%rax");
	if (shown & 1 << XSAVE) {
		GUEST_ASSERT_EQ(cr4_try(CR4_OSXSAVE), NONE);
		EXPECT(XSAVES, "xor %%eax, %%eax; xor %%edx, %%edx; mov $area, %%rcx; xsaves (%%rcx)");
		EXPECT(XSAVES, "xor %%eax, %%eax; xor %%edx, %%edx; mov $area, %%rcx; xrstors (%%rcx)");
		/* IA32_XSS: nothing of the supervisor's is offered. */
		GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0xda0, %%ecx; mov $0x100, %%eax; xor %%edx, %%edx; wrmsr");
	}
	GUEST_ASSERT_EQ(cr4_try(CR4_UMIP), shown & 1 << UMIP ? NONE : GP_VECTOR);
	guest_done();
}

static void guest_never(void)
{
	NEVER("encls");
	NEVER(".byte 0x0f, 0x01, 0xc0");		/* ENCLV */
	NEVER(".byte 0x0f, 0x01, 0xc5");		/* PCONFIG */
	NEVER(".byte 0x66, 0x0f, 0x01, 0xcf");		/* SEAMCALL */
	NEVER(".byte 0x66, 0x0f, 0xae, 0xf1");		/* TPAUSE ECX */
	NEVER(".byte 0xf2, 0x0f, 0xae, 0xf1");		/* UMWAIT ECX */
	NEVER(".byte 0xf3, 0x0f, 0xae, 0xf0");		/* UMONITOR RAX */
	NEVER("monitor");
	NEVER("mwait");
	NEVER("getsec");
	NEVER("vmread %%rax, %%rcx");
	NEVER("vmxoff");
	NEVER("vmlaunch");
	NEVER("mov $descriptor, %%rcx; invept (%%rcx), %%rax");
	guest_done();
}

static u32 *feature_reg(struct kvm_cpuid2 *c, unsigned int i)
{
	struct kvm_cpuid_entry2 *e = cpuid_entry(c, features[i].leaf, features[i].index);

	return e ? &e->eax + features[i].reg : NULL;
}

/* With the features of @hide taken out of what the module offers */
static void run(void *fn, u32 hide)
{
	struct vm *vm = vm_create(1);
	struct kvm_cpuid2 *c = supported_cpuid(vm->kvm);
	unsigned int i;
	u64 mask = 0;

	for (i = 0; i < NR; i++) {
		u32 *reg = feature_reg(c, i);

		if (reg && (hide & 1 << i))
			*reg &= ~(1u << features[i].bit);
		if (reg && (*reg >> features[i].bit & 1))
			mask |= 1 << i;
	}
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, c);
	vcpu_set_long(vm->vcpu, fn, 0);
	*guest_var(vm, &shown) = mask;
	tap_note("features %#lx", mask);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void need_vmx(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	if (regs[1] != 0x756e6547)	/* "Genu" */
		tap_skip("VMX only");
}

TEST(as_offered)
{
	need_vmx();
	run(guest_offered, 0);
}

TEST(hidden)
{
	need_vmx();
	run(guest_offered, 1 << RDTSCP | 1 << RDPID | 1 << INVPCID | 1 << XSAVES | 1 << UMIP);
}

TEST(never_offered)
{
	need_vmx();
	run(guest_never, 0);
}

/* ---- loops of PAUSE ---- */

#define TRIGGER	TRACEFS "events/kvm/kvm_exit/trigger"
#define HIST	TRACEFS "events/kvm/kvm_exit/hist"
#define KEYS	"hist:keys=exit_reason if exit_reason == 40"

/* What the kernel says of the CPU's VMX */
static bool cpu_has_ple(void)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[4096];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "vmx flags", 9) && strstr(line, " ple");
	if (f)
		fclose(f);
	return found;
}

static void guest_pauses_long(void)
{
	u64 i;

	for (i = 0; i < 100000; i++)
		guest_pause();
	guest_done();
}

static u64 pause_exits(u64 disabled)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS, .args = { disabled } };
	static char text[1 << 14];
	const char *hits;
	struct vm *vm;

	if (!sysfs_write(TRIGGER, KEYS))
		tap_skip("no trace histograms");
	vm = vm_create(0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	vcpu_set_long(vm->vcpu, guest_pauses_long, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	REQUIRE(sysfs_read(HIST, text, sizeof(text)));
	sysfs_write(TRIGGER, "!" KEYS);
	vm_destroy(vm);
	hits = strstr(text, "} hitcount:");
	return hits ? strtoull(hits + strlen("} hitcount:"), NULL, 10) : 0;
}

TEST(loops_of_pause)
{
	u64 n;

	need_vmx();
	n = pause_exits(0);
	tap_note("%lu exits", n);
	CHECK_EQ(!!n, cpu_has_ple() && param_letter("ple") == 'Y');
	CHECK_EQ(pause_exits(KVM_X86_DISABLE_EXITS_PAUSE), 0);
}

/* ---- parameters ---- */

static const struct { const char *param, *control; } params[] = {
	{ "vpid", " VPID" }, { "pml", " PML" }, { "apicv", " APICv" }, { "ple", " PLE" }, { "tsc_scaling", " TSC-scaling" },
	{ "rdtscp", " RDTSCP" }, { "invpcid", " INVPCID" }, { "xsaves", " XSAVES" }, { "tpr_shadow", " TPR-shadow" },
	{ "ept_ad", " EPT-A/D" }, { "ept_1g", " EPT-1G" }, { "preemption_timer", " preemption-timer" },
};

/* The last line in which the module told what it uses: false if there is none any more */
static bool last_line(char *record, size_t size)
{
	int log = kmsg_open(true);
	char next[2048];
	ssize_t n;

	*record = 0;
	while ((n = read(log, next, sizeof(next) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		next[n > 0 ? n : 0] = 0;
		if (strstr(next, "strata: VMX with"))
			snprintf(record, size, "%s", strstr(next, "strata: VMX with"));
	}
	close(log);
	return *record;
}

TEST(parameters)
{
	char line[512];
	unsigned int i;

	need_vmx();
	STRATA_ONLY("tells the log what it uses");
	if (!last_line(line, sizeof(line)))
		tap_skip("the log has it no more");
	for (i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		if (param_letter(params[i].param) != 'Y' && strstr(line, params[i].control))
			tap_fail(__FILE__, __LINE__, "%s is off, and used", params[i].param);
}
