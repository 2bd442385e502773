// SPDX-License-Identifier: GPL-2.0
/*
 * What: for every state ioctl: two gets are equal; setting what was got changes nothing, here
 * and on
 * another vCPU; what a running guest put there is read back; each reason to reject gives its errno
 * and leaves every other state as it was.
 * Conditions: no in-kernel interrupt controller.
 * Expected: as above. TSC MSRs move by themselves and are left out of comparisons.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"

/* All state of a vCPU, in fixed places so that it can be compared. */
struct image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	u64 msrs[16];
};

static const u32 msr_list[16] = {
	MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT, MSR_EFER, MSR_STAR,
	MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	MSR_APIC_BASE,
};

static void get_image(struct vcpu *vcpu, struct image *im)
{
	unsigned int i;

	memset(im, 0, sizeof(*im));
	xioctl(vcpu->fd, KVM_GET_REGS, &im->regs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &im->sregs);
	xioctl(vcpu->fd, KVM_GET_FPU, &im->fpu);
	xioctl(vcpu->fd, KVM_GET_XSAVE, &im->xsave);
	xioctl(vcpu->fd, KVM_GET_XCRS, &im->xcrs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &im->debugregs);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &im->mp_state);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &im->events);
	for (i = 0; msr_list[i]; i++)
		CHECK_EQ(vcpu_get_msr(vcpu, msr_list[i], &im->msrs[i]), 1);
}

static void set_image(struct vcpu *vcpu, struct image *im)
{
	unsigned int i;

	xioctl(vcpu->fd, KVM_SET_SREGS, &im->sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &im->regs);
	xioctl(vcpu->fd, KVM_SET_XCRS, &im->xcrs);
	xioctl(vcpu->fd, KVM_SET_FPU, &im->fpu);
	xioctl(vcpu->fd, KVM_SET_XSAVE, &im->xsave);
	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &im->debugregs);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &im->mp_state);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &im->events);
	for (i = 0; msr_list[i]; i++)
		CHECK_EQ(vcpu_set_msr(vcpu, msr_list[i], im->msrs[i]), 1);
}

#define SAME(a, b, part)								\
	do {										\
		if (memcmp(&(a)->part, &(b)->part, sizeof((a)->part)))			\
			tap_fail(__FILE__, line, "%s differ at byte %zu", #part,	\
				 first_difference(&(a)->part, &(b)->part));		\
	} while (0)

static size_t first_difference(const void *a, const void *b)
{
	size_t i;

	for (i = 0; ((const u8 *)a)[i] == ((const u8 *)b)[i]; i++)
		;
	return i;
}

static void check_same(int line, struct image *a, struct image *b)
{
	SAME(a, b, regs);
	SAME(a, b, sregs);
	SAME(a, b, fpu);
	SAME(a, b, xsave);
	SAME(a, b, xcrs);
	SAME(a, b, debugregs);
	SAME(a, b, mp_state);
	SAME(a, b, events);
	SAME(a, b, msrs);
}

/* Leaves recognisable values everywhere, then reports them for ever. */
static void guest_fill(void)
{
	static const u64 vec[2] = { 0x1122334455667788ull, 0x99aabbccddeeff00ull };

	wrmsr(MSR_STAR, 0x0023001000000000ull);
	wrmsr(MSR_LSTAR, 0xffff800000001000ull);
	wrmsr(MSR_KERNEL_GS_BASE, 0x12345000);
	wrmsr(MSR_SYSENTER_ESP, 0x7654);
	asm volatile("mov %0, %%dr0; mov %1, %%dr3" : : "r"(0x1234ul), "r"(0x5678ul));
	asm volatile("fninit; fldpi; movdqu %0, %%xmm3; movdqu %0, %%xmm15" : : "m"(vec));
	asm volatile("mov $0x1515151515151515, %%r15; mov $0x0808080808080808, %%r8;"
		     "mov $0x600, %%edx\n1: outb %%al, %%dx\n\tjmp 1b"
		     : : : "r15", "r8", "rdx");
}

static struct vm *filled_vm(void)
{
	struct vm *vm = vm_create(2);

	vcpu_set_long(vm->vcpu, guest_fill, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	/* Complete the OUT, so that REGS is at an instruction boundary. */
	CHECK_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	return vm;
}

TEST(get_get)
{
	struct vm *vm = filled_vm();
	struct image a, b;

	get_image(vm->vcpu, &a);
	get_image(vm->vcpu, &b);
	check_same(__LINE__, &a, &b);
	CHECK_EQ(a.regs.r15, 0x1515151515151515ull);
	CHECK_EQ(a.regs.r8, 0x0808080808080808ull);
	CHECK_EQ(a.debugregs.db[0], 0x1234);
	CHECK_EQ(a.debugregs.db[3], 0x5678);
	CHECK_EQ(*(u64 *)a.fpu.xmm[3], 0x1122334455667788ull);
	CHECK_EQ(*(u64 *)((u8 *)a.xsave.region + 160 + 16 * 15), 0x1122334455667788ull);
	CHECK_EQ(a.msrs[6], 0xffff800000001000ull);
	/* A run after getting is the run without. */
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x600);
	vm_destroy(vm);
}

TEST(set_what_was_got)
{
	struct vm *vm = filled_vm();
	struct image a, b;

	get_image(vm->vcpu, &a);
	set_image(vm->vcpu, &a);
	get_image(vm->vcpu, &b);
	check_same(__LINE__, &a, &b);
	vm_destroy(vm);
}

/* The second vCPU continues as the first would, after one round and after three. */
TEST(moves_to_another_vcpu)
{
	struct vm *vm = filled_vm();
	struct image a, b;

	get_image(vm->vcpu, &a);
	/* The boot processor's bit belongs to the vCPU it was created as. */
	a.msrs[12] &= ~0x100ull;
	a.sregs.apic_base &= ~0x100ull;
	set_image(&vm->vcpu[1], &a);
	get_image(&vm->vcpu[1], &b);
	check_same(__LINE__, &a, &b);
	RUN_UNTIL(&vm->vcpu[1], KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu[1].run->io.port, 0x600);
	vm_destroy(vm);
}

/* Every way to reject: the errno, and nothing changed. */
#define REJECT(vm, want, cmd, arg)						\
	do {									\
		struct image before_, after_;					\
										\
		get_image((vm)->vcpu, &before_);				\
		CHECK_EQ(kvm_ioctl((vm)->vcpu->fd, cmd, arg), want);		\
		get_image((vm)->vcpu, &after_);					\
		check_same(__LINE__, &before_, &after_);			\
	} while (0)

TEST(sregs_rejected)
{
	struct vm *vm = filled_vm();
	struct image im;
	struct kvm_sregs s;

	get_image(vm->vcpu, &im);
	s = im.sregs, s.cr0 |= 1ull << 32;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.cr0 &= ~CR0_PE;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.cr4 |= 1ull << 63;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.cr4 &= ~CR4_PAE;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.efer &= ~EFER_LMA;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.efer |= 1ull << 40;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	s = im.sregs, s.cr3 |= 1ull << 62;
	REJECT(vm, -EINVAL, KVM_SET_SREGS, &s);
	vm_destroy(vm);
}

TEST(other_state_rejected)
{
	struct vm *vm = filled_vm();
	struct image im;

	get_image(vm->vcpu, &im);
	im.debugregs.flags = 1;
	REJECT(vm, -EINVAL, KVM_SET_DEBUGREGS, &im.debugregs);
	im.debugregs.flags = 0;
	im.debugregs.dr7 |= 1ull << 32;
	REJECT(vm, -EINVAL, KVM_SET_DEBUGREGS, &im.debugregs);
	im.debugregs.dr7 = 0x400;
	im.debugregs.dr6 |= 1ull << 32;
	REJECT(vm, -EINVAL, KVM_SET_DEBUGREGS, &im.debugregs);
	im.mp_state.mp_state = 77;
	REJECT(vm, -EINVAL, KVM_SET_MP_STATE, &im.mp_state);
	im.events.flags |= 1u << 31;
	REJECT(vm, -EINVAL, KVM_SET_VCPU_EVENTS, &im.events);
	get_image(vm->vcpu, &im);
	im.events.exception.injected = 1;
	im.events.exception.nr = 32;
	REJECT(vm, -EINVAL, KVM_SET_VCPU_EVENTS, &im.events);
	im.events.exception.nr = NMI_VECTOR;
	REJECT(vm, -EINVAL, KVM_SET_VCPU_EVENTS, &im.events);
	im.xcrs.nr_xcrs = 1;
	im.xcrs.xcrs[0].value = 0;
	REJECT(vm, -EINVAL, KVM_SET_XCRS, &im.xcrs);
	im.xcrs.nr_xcrs = KVM_MAX_XCRS + 1;
	REJECT(vm, -EINVAL, KVM_SET_XCRS, &im.xcrs);
	im.xsave.region[512 / 4 + 1] |= 1u << 31;
	REJECT(vm, -EINVAL, KVM_SET_XSAVE, &im.xsave);
	vm_destroy(vm);
}

TEST(msr_protocol)
{
	struct vm *vm = filled_vm();
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} m = { .head.nmsrs = 3, .entry = {
		{ .index = MSR_LSTAR }, { .index = 0x12345678 }, { .index = MSR_STAR },
	} };
	u64 value;

	/* The number of entries taken; the rest untouched. */
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_MSRS, &m), 1);
	CHECK_EQ(m.entry[0].data, 0xffff800000001000ull);
	CHECK_EQ(m.entry[2].data, 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, 0x12345678, 1), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_LSTAR, 1ull << 60), 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_PAT, 0x0202020202020202ull), 0);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_LSTAR, &value), 1);
	CHECK_EQ(value, 0xffff800000001000ull);
	m.head.nmsrs = 100000;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_MSRS, &m), -E2BIG);
	m.head.nmsrs = 0;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_MSRS, &m), 0);
	vm_destroy(vm);
}

TEST(sregs2)
{
	struct vm *vm;
	struct kvm_sregs2 a, b;

	NEED_CAP(KVM_CAP_SREGS2);
	vm = filled_vm();
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	xioctl(vm->vcpu->fd, KVM_GET_SREGS2, &a);
	xioctl(vm->vcpu->fd, KVM_SET_SREGS2, &a);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS2, &b);
	CHECK(!memcmp(&a, &b, sizeof(a)));
	a.flags = 1ull << 40;
	REJECT(vm, -EINVAL, KVM_SET_SREGS2, &a);
	vm_destroy(vm);
}
