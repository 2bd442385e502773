// SPDX-License-Identifier: GPL-2.0
/*
 * What: the images of PIC, IOAPIC and local APIC, field by field as the ABI lays them out, for
 * controllers that the guest has programmed; and the error and the masked timer entries of the
 * local vector table.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: each field holds what the guest wrote or the lines say; an image put into another VM
 * reads back the same, byte for byte.
 */
#include <errno.h>
#include <string.h>

#include "pv.h"

#define IOAPIC	0xfec00000ull
#define APIC	0xfee00000ull
#define ERROR_VECTOR 0x91

enum {
	LDR = 0xd0,
	DFR = 0xe0,
	ESR = 0x280,
	LVT_CMCI = 0x2f0,
	LVT_THERMAL = 0x330,
	LVT_PERF = 0x340,
	LVT_LINT0 = 0x350,
	LVT_LINT1 = 0x360,
	LVT_ERROR = 0x370,
	TMICT = 0x380,
	TDCR = 0x3e0,
	ICR2 = 0x310
};

static void set_line(struct vm *vm, u32 gsi, u32 level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	xioctl(vm->fd, KVM_IRQ_LINE, &irq);
}

/* Both in another VM, where they must read back the same. */
static void check_copies(struct vm *from, u32 chip_id)
{
	struct kvm_irqchip chip = { .chip_id = chip_id }, back = { .chip_id = chip_id };
	struct vm *to = vm_create_bare(0);

	xioctl(to->fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(from->fd, KVM_GET_IRQCHIP, &chip);
	xioctl(to->fd, KVM_SET_IRQCHIP, &chip);
	xioctl(to->fd, KVM_GET_IRQCHIP, &back);
	CHECK(!memcmp(&chip, &back, sizeof(chip)));
	xioctl(from->fd, KVM_GET_IRQCHIP, &back);
	CHECK(!memcmp(&chip, &back, sizeof(chip)));
	vm_destroy(to);
}

/* ---- PIC ---- */

static void guest_pic(void)
{
	/* Master: vectors 0x30, EOIs by hand, special fully nested; slave: 0x38, automatic EOI. */
	out8(0x20, 0x11);
	out8(0x21, 0x30);
	out8(0x21, 4);
	out8(0x21, 0x11);
	out8(0x21, 0xf9);
	out8(0xa0, 0x11);
	out8(0xa1, 0x38);
	out8(0xa1, 2);
	out8(0xa1, 3);
	out8(0xa1, 0xfe);
	/*
	 * Level-triggered inputs 5 and 11; the lowest priority is 2's; the next read is the service
	 * register's.
	 */
	out8(0x4d0, 0x20);
	out8(0x4d1, 0x08);
	out8(0x20, 0xc2);
	out8(0x20, 0x0b);
	out8(0xa0, 0x68);
	guest_sync(1);
	/* A chip in the middle of its initialisation, and one that is to be polled. */
	out8(0xa0, 0x11);
	out8(0xa1, 0x70);
	out8(0x20, 0x0c);
	guest_sync(2);
	guest_done();
}

TEST(pic)
{
	struct kvm_irqchip master = { .chip_id = KVM_IRQCHIP_PIC_MASTER }, slave = { .chip_id = KVM_IRQCHIP_PIC_SLAVE };
	struct kvm_pic_state m, s;
	struct vm *vm = pv_apic_vm(1, guest_pic);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	set_line(vm, 1, 1);
	set_line(vm, 4, 1);
	set_line(vm, 4, 0);
	set_line(vm, 5, 1);
	set_line(vm, 11, 1);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &master);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &slave);
	m = (struct kvm_pic_state) {
		.last_irr = 0x22, .irr = 0x32, .imr = 0xf9, .priority_add = 3, .irq_base = 0x30, .read_reg_select = 1,
		.special_fully_nested_mode = 1, .init4 = 1, .elcr = 0x20, .elcr_mask = 0xf8,
	};
	s = (struct kvm_pic_state) {
		.last_irr = 0x08, .irr = 0x08, .imr = 0xfe, .irq_base = 0x38, .special_mask = 1, .auto_eoi = 1, .init4 = 1,
		.elcr = 0x08, .elcr_mask = 0xde,
	};
	CHECK(!memcmp(&m, &master.chip.pic, sizeof(m)));
	CHECK(!memcmp(&s, &slave.chip.pic, sizeof(s)));
	check_copies(vm, KVM_IRQCHIP_PIC_MASTER);
	check_copies(vm, KVM_IRQCHIP_PIC_SLAVE);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &master);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &slave);
	CHECK_EQ(master.chip.pic.poll, 1);
	CHECK_EQ(slave.chip.pic.init_state, 2);
	CHECK_EQ(slave.chip.pic.irq_base, 0x70);
	check_copies(vm, KVM_IRQCHIP_PIC_MASTER);
	check_copies(vm, KVM_IRQCHIP_PIC_SLAVE);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- IOAPIC ---- */

static void ioapic_write(u32 index, u32 value)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void guest_ioapic(void)
{
	ioapic_write(0, 9 << 24);
	ioapic_write(0x11 + 2 * 3, 0x12000000);
	ioapic_write(0x10 + 2 * 3, 0x171 | 1 << 11 | 1 << 13 | 1 << 15 | 1 << 16);
	ioapic_write(0x11 + 2 * 7, 0);
	ioapic_write(0x10 + 2 * 7, 0x81 | 1 << 15);
	ioapic_write(0x11 + 2 * 23, 0xff000000);
	ioapic_write(0x10 + 2 * 23, 0x4a2 | 1 << 16);
	*(volatile u32 *)IOAPIC = 0x2a;
	guest_sync(1);
	guest_done();
}

TEST(ioapic)
{
	static const u64 entries[] = { [3] = 0x120000000001a971ull, [7] = 0xc081ull, [23] = 0xff000000000104a2ull };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_ioapic_state *io = &chip.chip.ioapic;
	struct kvm_lapic_state lapic;
	struct vm *vm = pv_apic_vm(1, guest_ioapic);
	u32 i;

	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &lapic);
	*(u32 *)(lapic.regs + APIC_SVR) = 0x1ff;
	xioctl(vm->vcpu->fd, KVM_SET_LAPIC, &lapic);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	/*
	 * Level-triggered and masked; level-triggered, taken by the local APIC, and not served yet.
	 */
	set_line(vm, 3, 1);
	set_line(vm, 7, 1);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
	CHECK_EQ(io->base_address, IOAPIC);
	CHECK_EQ(io->ioregsel, 0x2a);
	CHECK_EQ(io->id, 9);
	CHECK_EQ(io->irr, 1 << 3 | 1 << 7);
	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		CHECK_EQ(io->redirtbl[i].bits, i == 3 || i == 7 || i == 23 ? entries[i] : 1 << 16);
	CHECK_EQ(io->redirtbl[3].fields.vector, 0x71);
	CHECK_EQ(io->redirtbl[3].fields.delivery_mode, 1);
	CHECK_EQ(io->redirtbl[3].fields.dest_mode, 1);
	CHECK_EQ(io->redirtbl[3].fields.polarity, 1);
	CHECK_EQ(io->redirtbl[3].fields.trig_mode, 1);
	CHECK_EQ(io->redirtbl[3].fields.mask, 1);
	CHECK_EQ(io->redirtbl[3].fields.dest_id, 0x12);
	CHECK_EQ(io->redirtbl[7].fields.remote_irr, 1);
	check_copies(vm, KVM_IRQCHIP_IOAPIC);
	vm_destroy(vm);
}

/* ---- local APIC ---- */

static volatile u64 errors;

static volatile u32 *reg(u32 offset)
{
	return (volatile u32 *)(APIC + offset);
}

static void on_error(struct guest_frame *frame __attribute__((unused)))
{
	errors++;
	*reg(ESR) = 0;
	GUEST_ASSERT_EQ(*reg(ESR), 0x20);
	*reg(APIC_EOI) = 0;
}

static void guest_lvt(void)
{
	*reg(APIC_SVR) = 0x1ff;
	*reg(LDR) = 0x04000000;
	*reg(DFR) = 0xffffffff;
	*reg(APIC_TPR) = 0x10;
	*reg(APIC_LVTT) = 0x10000 | 1 << 17 | 0x32;
	*reg(LVT_THERMAL) = 0x10033;
	*reg(LVT_PERF) = 0x10400;
	*reg(LVT_LINT0) = 0x10700;
	*reg(LVT_LINT1) = 0x400;
	*reg(LVT_ERROR) = ERROR_VECTOR;
	*reg(TDCR) = 0xa;
	*reg(ICR2) = 0x07000000;
	guest_sti();
	/* No vector below 16 is sent. */
	*reg(APIC_ICR) = 0x40005;
	GUEST_ASSERT_EQ(errors, 1);
	/* Masked, it is noted only. */
	*reg(LVT_ERROR) = 0x10000 | ERROR_VECTOR;
	*reg(APIC_ICR) = 0x40006;
	GUEST_ASSERT_EQ(errors, 1);
	*reg(ESR) = 0;
	GUEST_ASSERT_EQ(*reg(ESR), 0x20);
	/* A masked timer counts, and interrupts nobody. */
	*reg(TMICT) = 0x10000000;
	while (*reg(APIC_ICR) & 0x1000)
		;
	guest_sync(1);
	guest_done();
}

TEST(local_apic)
{
	static const struct { u32 offset, val; } want[] = {
		{ APIC_SVR, 0x1ff }, { LDR, 0x04000000 }, { DFR, 0xffffffff }, { APIC_TPR, 0x10 }, { APIC_LVTT, 0x30032 }, { LVT_THERMAL, 0x10033 },
		{ LVT_PERF, 0x10400 }, { LVT_LINT0, 0x10700 }, { LVT_LINT1, 0x400 }, { LVT_ERROR, 0x10000 | ERROR_VECTOR }, { TMICT, 0x10000000 },
		{ TDCR, 0xa }, { ICR2, 0x07000000 }, { APIC_ICR, 0x40006 }, { ESR, 0x20 },
	};
	struct kvm_lapic_state s, again;
	struct vm *vm, *to;
	u32 i;

	STRATA_ONLY("errors interrupt");
	guest_handlers[ERROR_VECTOR] = on_error;
	vm = pv_apic_vm(1, guest_lvt);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (*(u32 *)(s.regs + want[i].offset) != want[i].val)
			tap_fail(__FILE__, __LINE__, "%#x holds %#x, not %#x", want[i].offset,
				 *(u32 *)(s.regs + want[i].offset), want[i].val);
	/* The periodic timer goes on; with it standing still images are the same. */
	*(u32 *)(s.regs + TMICT) = 0;
	xioctl(vm->vcpu->fd, KVM_SET_LAPIC, &s);
	xioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s);
	to = pv_apic_vm(1, guest_lvt);
	xioctl(to->vcpu->fd, KVM_SET_LAPIC, &s);
	xioctl(to->vcpu->fd, KVM_GET_LAPIC, &again);
	CHECK(!memcmp(&s, &again, sizeof(s)));
	vm_destroy(to);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
