// SPDX-License-Identifier: GPL-2.0
/*
 * What: SMI and RSM: the save area, the state that the handler starts in, the state after RSM, RSM
 * from every mode, relocation of SMBASE, the second address space.
 * Conditions: no in-kernel interrupt controller; SMRAM is memory in the second address space only.
 * Expected: what the manuals' tables say, in the 64-bit map and (CPUID without long mode) the
 * 32-bit one; RSM brings every register back.
 */
#include <string.h>

#include "smm.h"

#define DR6_SET		0xffff4ff0ull
#define DR7_SET		0x00000700ull

static u64 load_loop(struct vm *vm)
{
	return vm_load_payload(vm, 0, payload_loop, payload_loop_end);
}

static void set_long(struct vcpu *vcpu)
{
	vcpu_set_long(vcpu, (void *)load_loop(vcpu->vm), 0);
}

static void set_prot(struct vcpu *vcpu)
{
	vcpu_set_prot(vcpu, load_loop(vcpu->vm));
}

static void set_real(struct vcpu *vcpu)
{
	vcpu_set_real(vcpu, load_loop(vcpu->vm) >> 4, 0);
}

/* Two of the four gigabytes, one to one, by page-directory pointers and 2M pages. */
static void set_pae(struct vcpu *vcpu)
{
	u64 *pdpt = gpa_to_host(vcpu->vm, 0x30000), *pd = gpa_to_host(vcpu->vm, 0x31000);
	struct kvm_sregs sregs;
	unsigned int i;

	set_prot(vcpu);
	pdpt[0] = 0x31000 | PTE_P;
	pdpt[1] = 0x32000 | PTE_P;
	for (i = 0; i < 1024; i++)
		pd[i] = (u64)i << 21 | PTE_P | PTE_W | PTE_PS;
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr3 = 0x30000;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 |= CR0_PG;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

/* Distinct values wherever the mode leaves the choice. */
static void fill_registers(struct vcpu *vcpu, bool wide)
{
	u64 high = wide ? 0x1122334400000000ull : 0;
	struct kvm_debugregs debug;
	struct kvm_regs regs;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	regs.rax = high | 0xa1;
	regs.rbx = high | 0xb2;
	regs.rcx = high | 0xc3;
	regs.rdx = high | 0xd4;
	regs.rsi = high | 0x51;
	regs.rdi = high | 0xd1;
	regs.rbp = high | 0xb9;
	if (wide) {
		regs.r8 = high | 8;
		regs.r9 = high | 9;
		regs.r10 = high | 10;
		regs.r11 = high | 11;
		regs.r12 = high | 12;
		regs.r13 = high | 13;
		regs.r14 = high | 14;
		regs.r15 = high | 15;
	}
	regs.rflags = RFLAGS_FIXED | RFLAGS_CF | RFLAGS_OF | RFLAGS_DF;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug);
	debug.dr6 = DR6_SET;
	debug.dr7 = DR7_SET;
	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug);
}

static void check_handler_state(struct vcpu *vcpu, const struct smm_state *before, bool wide)
{
	const u64 cleared = CR0_PE | CR0_EM | CR0_TS | CR0_PG;
	struct smm_state now;

	smm_get_state(vcpu, &now);
	CHECK(vcpu->run->flags & KVM_RUN_X86_SMM);
	CHECK_EQ(now.events.smi.smm, 1);
	CHECK_EQ(now.events.smi.pending, 0);
	CHECK_EQ(now.events.nmi.masked, 1);
	CHECK_EQ(now.regs.rip, SMM_ENTRY + 2);
	CHECK_EQ(now.regs.rflags, RFLAGS_FIXED);
	CHECK_EQ(now.regs.rsi, before->regs.rsi);
	CHECK_EQ(now.sregs.cr0, before->sregs.cr0 & ~cleared);
	CHECK_EQ(now.sregs.cr4, 0);
	CHECK_EQ(now.sregs.cr3, before->sregs.cr3);
	CHECK_EQ(now.sregs.efer, wide ? 0 : before->sregs.efer);
	CHECK_EQ(now.sregs.cs.base, before->smbase);
	CHECK_EQ(now.sregs.cs.selector, (before->smbase >> 4) & 0xffff);
	CHECK_EQ(now.sregs.cs.limit, 0xffffffff);
	CHECK_EQ(now.sregs.cs.db, 0);
	CHECK_EQ(now.sregs.ss.base | now.sregs.ss.selector | now.sregs.gs.base | now.sregs.gs.selector, 0);
	CHECK_EQ(now.sregs.ds.limit, 0xffffffff);
	CHECK_EQ(now.sregs.tr.base, before->sregs.tr.base);
	CHECK_EQ(now.sregs.gdt.base, before->sregs.gdt.base);
	CHECK_EQ(now.debug.dr7, 0x400);
}

static void check_map64(const u8 *smram, const struct smm_state *s)
{
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_REVISION, 4), 0x30064);
	CHECK_EQ(smm_field(smram, SMM_SAVE + S64_SMBASE, 4), s->smbase);
	CHECK_EQ(S64(smram, RIP), s->regs.rip);
	CHECK_EQ(S64(smram, RFLAGS), s->regs.rflags);
	CHECK_EQ(S64(smram, RAX), s->regs.rax);
	CHECK_EQ(smm_field(smram, 0xfff0, 8), s->regs.rcx);
	CHECK_EQ(smm_field(smram, 0xffe0, 8), s->regs.rbx);
	CHECK_EQ(smm_field(smram, 0xffd8, 8), s->regs.rsp);
	CHECK_EQ(smm_field(smram, 0xffb8, 8), s->regs.r8);
	CHECK_EQ(smm_field(smram, 0xff80, 8), s->regs.r15);
	CHECK_EQ(S64(smram, CR0), s->sregs.cr0);
	CHECK_EQ(S64(smram, CR3), s->sregs.cr3);
	CHECK_EQ(S64(smram, CR4), s->sregs.cr4);
	CHECK_EQ(S64(smram, EFER), s->sregs.efer);
	CHECK_EQ(S64(smram, DR6), s->debug.dr6);
	CHECK_EQ(S64(smram, DR7), s->debug.dr7);
	CHECK_EQ(smm_field(smram, 0xfe10, 2), s->sregs.cs.selector);
	CHECK_EQ(smm_field(smram, 0xfe14, 4), s->sregs.cs.limit);
	CHECK_EQ(smm_field(smram, 0xfe58, 8), s->sregs.gs.base);
	CHECK_EQ(smm_field(smram, 0xfe68, 8), s->sregs.gdt.base);
	CHECK_EQ(smm_field(smram, 0xfe84, 2), s->sregs.idt.limit);
	CHECK_EQ(smm_field(smram, 0xfe98, 8), s->sregs.tr.base);
}

static void check_map32(const u8 *smram, const struct smm_state *s)
{
	CHECK_EQ(smm_field(smram, 0xfefc, 4), 0x30000);
	CHECK_EQ(smm_field(smram, 0xfef8, 4), s->smbase);
	CHECK_EQ(smm_field(smram, 0xfffc, 4), s->sregs.cr0);
	CHECK_EQ(smm_field(smram, 0xfff8, 4), s->sregs.cr3);
	CHECK_EQ(smm_field(smram, 0xfff4, 4), s->regs.rflags);
	CHECK_EQ(smm_field(smram, 0xfff0, 4), s->regs.rip);
	CHECK_EQ(smm_field(smram, 0xffec, 4), s->regs.rdi);
	CHECK_EQ(smm_field(smram, 0xffe0, 4), s->regs.rsp);
	CHECK_EQ(smm_field(smram, 0xffd0, 4), s->regs.rax);
	CHECK_EQ(smm_field(smram, 0xffcc, 4), s->debug.dr6);
	CHECK_EQ(smm_field(smram, 0xffc8, 4), s->debug.dr7);
	CHECK_EQ(smm_field(smram, 0xffac, 2), s->sregs.cs.selector);
	CHECK_EQ(smm_field(smram, 0xff14, 4), s->sregs.cr4);
	CHECK_EQ(smm_field(smram, 0xff98, 4), s->sregs.cs.base);
}

static void hide_long_mode(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(vcpu->vm->kvm);

	cpuid_entry(cpuid, 0x80000001, 0)->edx &= ~(1u << 29);
	xioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
}

/* Stop, SMI, handler, RSM, the same stop again: everything as before. */
static void round_trip(void (*set_mode)(struct vcpu *vcpu), bool wide)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u8 *smram = smm_prepare(vm, 1);
	struct smm_state before, after;
	u64 count;

	if (!wide)
		hide_long_mode(vcpu);
	set_mode(vcpu);
	fill_registers(vcpu, set_mode == set_long);
	RUN_UNTIL_LOOP(vcpu);
	smm_get_state(vcpu, &before);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	check_handler_state(vcpu, &before, wide);
	if (wide)
		check_map64(smram, &before);
	else
		check_map32(smram, &before);
	RUN_UNTIL_LOOP(vcpu);
	smm_get_state(vcpu, &after);
	CHECK(!(vcpu->run->flags & KVM_RUN_X86_SMM));
	CHECK_EQ(memcmp(&after.regs, &before.regs, sizeof(after.regs)), 0);
	CHECK_EQ(memcmp(&after.sregs, &before.sregs, sizeof(after.sregs)), 0);
	CHECK_EQ(memcmp(&after.debug, &before.debug, sizeof(after.debug)), 0);
	CHECK_EQ(memcmp(&after.events, &before.events, sizeof(after.events)), 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_SMI_COUNT, &count), 1);
	CHECK_EQ(count, 1);
	vm_destroy(vm);
}

TEST(from_long_mode)		{ round_trip(set_long, true); }
TEST(from_protected_mode)	{ round_trip(set_prot, true); }
TEST(from_real_mode)		{ round_trip(set_real, true); }
TEST(from_pae_paging)		{ round_trip(set_pae, true); }
TEST(map32_protected_mode)	{ round_trip(set_prot, false); }
TEST(map32_real_mode)		{ round_trip(set_real, false); }
TEST(map32_pae_paging)		{ round_trip(set_pae, false); }


/* The handler got itself into another mode before RSM. */
static void rsm_from(void (*set_mode)(struct vcpu *vcpu))
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct smm_state before, after;
	struct kvm_regs regs;

	smm_prepare(vm, 1);
	set_long(vcpu);
	RUN_UNTIL_LOOP(vcpu);
	smm_get_state(vcpu, &before);
	xioctl(vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vcpu);
	set_mode(vcpu);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	memcpy(gpa_to_host(vm, GPA_PAYLOAD + 0x100), "\x0f\xaa", 2);
	regs.rip += 0x100;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
	RUN_UNTIL_LOOP(vcpu);
	smm_get_state(vcpu, &after);
	CHECK_EQ(memcmp(&after, &before, sizeof(after)), 0);
	vm_destroy(vm);
}

TEST(rsm_in_long_mode)		{ rsm_from(set_long); }
TEST(rsm_in_protected_mode)	{ rsm_from(set_prot); }
TEST(rsm_in_pae_paging)		{ rsm_from(set_pae); }

static void guest_rsm_outside(void)
{
	GUEST_ASSERT_FAULTS(UD_VECTOR, "rsm");
	guest_done();
}

TEST(rsm_outside_is_undefined)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_rsm_outside, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
