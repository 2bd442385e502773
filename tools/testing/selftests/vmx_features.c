// SPDX-License-Identifier: GPL-2.0
/*
 * What: instructions that VMX lets a guest execute, or not, by controls: RDTSCP, RDPID, INVPCID, XSAVES, and those that are never offered: SGX's, WAITPKG's,
 * MONITOR and MWAIT, SMX's, VMX's own.
 * Conditions: VMX.
 * Expected: with the feature in its CPUID the guest executes the instruction; without it, and where it is never offered, there is #UD. CR4 takes UMIP where
 * CPUID shows it only.
 */
#include "cpu.h"

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
