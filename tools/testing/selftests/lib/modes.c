// SPDX-License-Identifier: GPL-2.0
/*
 * Guests that write down which events they get; see modes.h.
 */
#include <string.h>

#include "cpu.h"
#include "modes.h"

#define GPA_IDT32	0x5000ull
#define GPA_TSS32	0x6000ull
#define GPA_IDT64	0xd000ull
#define GPA_SIPI	0x9000ull
#define GPA_SMI		0x38000ull	/* SMBASE after reset, 30000h, and 8000h */
#define GPA_ROM		0xfffff000ull
#define STACK0		0x7e00		/* of ring 0, for virtual-8086 mode */
#define STACK_TOP	0x7000

#define SLOT_SMM	0x10000

extern const char modes_start64[], modes_start32[], modes_start16[], modes_vectors64[],
	modes_vectors32[], modes_vectors16[], modes_stop16[], modes_reset[], modes_reset_end[],
	modes_sipi[], modes_sipi_end[], modes_smi[], modes_smi_end[];

const char *const mode_names[NR_MODES] = { "long mode", "protected mode", "real mode", "virtual-8086 mode" };

/* Gates for every privilege level: virtual-8086 mode runs at the lowest. */
static void build_idts(struct vm *vm)
{
	u64 *idt64 = gpa_to_host(vm, GPA_IDT64), *idt32 = gpa_to_host(vm, GPA_IDT32), stub;
	u32 *ivt = gpa_to_host(vm, 0);
	unsigned int i;

	for (i = 0; i < 256; i++) {
		stub = (u64)modes_vectors64 + 16 * i;
		idt64[2 * i] = (stub & 0xffff) | SEL_CODE64 << 16 | 0xee00ull << 32 |
			       (stub & 0xffff0000) << 32;
		idt64[2 * i + 1] = stub >> 32;
		stub = (u64)modes_vectors32 + 16 * i;
		idt32[i] = (stub & 0xffff) | SEL_CODE32 << 16 | 0xee00ull << 32 |
			   (stub & 0xffff0000) << 32;
		ivt[i] = (u32)MODES_CS16 << 16 | (modes_vectors16 - modes_start16 + 6 * i);
	}
}

static void copy(struct vm *vm, u64 gpa, const char *start, const char *end)
{
	memcpy(gpa_to_host(vm, gpa), start, end - start);
}

static u8 *rom;

void modes_share(struct vm *vm, const struct vm *of)
{
	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, SLOT0_SIZE, of->mem), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA_ROM, 4096, rom), 0);
	REQUIRE_EQ(vm_set_slot(vm, SLOT_SMM, 0, 0, SLOT0_SIZE, of->mem), 0);
	REQUIRE_EQ(vm_set_slot(vm, SLOT_SMM + 1, 0, GPA_ROM, 4096, rom), 0);
}

void modes_prepare(struct vm *vm)
{
	u32 *tss = gpa_to_host(vm, GPA_TSS32);

	build_idts(vm);
	copy(vm, MODES_CS16 << 4, modes_start16, modes_stop16);
	copy(vm, GPA_SIPI, modes_sipi, modes_sipi_end);
	copy(vm, GPA_SIPI + 0x1000, modes_sipi, modes_sipi_end);
	copy(vm, GPA_SMI, modes_smi, modes_smi_end);
	*(u16 *)gpa_to_host(vm, MODES_TCG) = guest_under_tcg;
	tss[1] = STACK0;
	tss[2] = SEL_DATA;
	tss[25] = 0x68 << 16;	/* no I/O permission map */
	rom = host_alloc(4096, 4096);
	memcpy(rom + 0xff0, modes_reset, modes_reset_end - modes_reset);
	modes_share(vm, vm);
}

static void set_v86(struct vcpu *vcpu)
{
	struct kvm_segment flat = { .limit = 0xffff, .type = 3, .present = 1, .s = 1, .dpl = 3 };
	struct kvm_regs regs = { .rflags = RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IOPL3, .rsp = STACK_TOP };
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.cs = flat;
	sregs.cs.selector = MODES_CS16;
	sregs.cs.base = MODES_CS16 << 4;
	sregs.tr = (struct kvm_segment){ .base = GPA_TSS32, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1 };
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

void vcpu_set_mode(struct vcpu *vcpu, enum guest_mode mode)
{
	struct kvm_sregs sregs;

	switch (mode) {
	case MODE_LONG:
		vcpu_set_long(vcpu, (void *)modes_start64, 0);
		break;
	case MODE_PROTECTED:
	case MODE_V86:
		vcpu_set_prot(vcpu, (u64)modes_start32);
		break;
	default:
		vcpu_set_real(vcpu, MODES_CS16, 0);
		return;
	}
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.idt.base = mode == MODE_LONG ? GPA_IDT64 : GPA_IDT32;
	sregs.idt.limit = mode == MODE_LONG ? 0xfff : 0x7ff;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	if (mode == MODE_V86)
		set_v86(vcpu);
}

struct mode_log *mode_log(struct vm *vm)
{
	return gpa_to_host(vm, MODES_LOG);
}
