// SPDX-License-Identifier: GPL-2.0
/*
 * What: interrupts of devices: KVM_IRQ_LINE through IOAPIC and PIC, MSIs, routing, irqfd with and
 * without resampling, ioeventfd, the PIT, the split irqchip's EOI exits and ExtINT, GET/SET of the
 * controllers.
 * Conditions: KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP.
 * Expected: one interrupt an edge; a level-triggered line interrupts until it falls; documented
 * errnos.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu.h"

#define VECTOR	0x51
#define X2(reg)	(0x800 + (reg) / 16)
#define IOAPIC	0xfec00000ull
#define DOORBELL 0x20000000ull

enum { EOI = 0xb0, SVR = 0xf0, LINT0 = 0x350 };

static volatile u64 irqs;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(EOI), 0);
}

static struct vm *full_vm(void *fn)
{
	struct vm *vm;

	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static int set_line(struct vm *vm, u32 gsi, u32 level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	xioctl(vm->fd, KVM_IRQ_LINE_STATUS, &irq);
	return irq.status;
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
}

static void ioapic_write(u32 index, u32 value)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void guest_ioapic(u64 flags)
{
	/* The PIC, whose interrupts LINT0 takes after reset, is quiet. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	x2apic_on();
	ioapic_write(0x10 + 2 * 5, 1 << 16);
	ioapic_write(0x11 + 2 * 5, 0);
	ioapic_write(0x10 + 2 * 5, VECTOR | flags);
	asm volatile("sti");
	guest_sync(irqs);
	for (;;)
		guest_sync(irqs);
}

TEST(ioapic_edge)
{
	struct vm *vm = full_vm(guest_ioapic);

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	CHECK_EQ(set_line(vm, 5, 1), 1);
	/* Up already, and the first one still pending. */
	CHECK_EQ(set_line(vm, 5, 1), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	set_line(vm, 5, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(set_line(vm, 5, 1), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	/* Nobody unmasked this one. */
	CHECK_EQ(set_line(vm, 6, 1), -1);
	vm_destroy(vm);
}

static volatile u64 level_left;

/* The device's line falls when the handler has run often enough. */
static void on_level(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	if (irqs == level_left)
		out8(0x99, 0);
	wrmsr(X2(EOI), 0);
}

static void guest_level(void)
{
	guest_handlers[VECTOR] = on_level;
	level_left = 3;
	guest_ioapic(1 << 15);
}

TEST(ioapic_level)
{
	struct vm *vm = full_vm(guest_level);

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	CHECK_EQ(set_line(vm, 5, 1), 1);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x99);
	set_line(vm, 5, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	vm_destroy(vm);
}

static void guest_waits(void)
{
	x2apic_on();
	asm volatile("sti");
	for (;;)
		guest_sync(irqs);
}

TEST(msi_and_routing)
{
	struct vm *vm = full_vm(guest_waits);
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[1];
	} r = { .head.nr = 1, .entry[0] = { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = VECTOR } } };
	struct kvm_irqfd irqfd = { .gsi = 30 };
	u64 one = 1;

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	msi.address_lo |= 7 << 12;	/* no such APIC */
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 0);
	CHECK_EQ(set_line(vm, 30, 1), -1);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(set_line(vm, 30, 1), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 2);

	irqfd.fd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &irqfd), -EBUSY);
	CHECK_EQ(write(irqfd.fd, &one, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	/*
	 * The route goes, the irqfd stays: its interrupts go nowhere until there is a route again.
	 */
	r.head.nr = 0;
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(write(irqfd.fd, &one, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	r.head.nr = 1;
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(write(irqfd.fd, &one, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 4);
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	CHECK_EQ(write(irqfd.fd, &one, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 4);
	irqfd.flags = 0;
	/* What was signalled meanwhile is not lost. */
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	RUN_UNTIL_SYNC(vm->vcpu, 5);
	/* The last descriptor's end is the irqfd's. */
	close(irqfd.fd);
	r.entry[0].type = 77;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	vm_destroy(vm);
}

static void guest_resample(void)
{
	guest_ioapic(1 << 15);
}

TEST(irqfd_resample)
{
	struct vm *vm = full_vm(guest_resample);
	struct kvm_irqfd irqfd = { .gsi = 5, .flags = KVM_IRQFD_FLAG_RESAMPLE };
	u64 val = 1;

	irqfd.fd = eventfd(0, EFD_NONBLOCK);
	irqfd.resamplefd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	CHECK_EQ(write(irqfd.fd, &val, 8), 8);
	CHECK_EQ(read(irqfd.resamplefd, &val, 8), -1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	/* The EOI lowered the line and said so. */
	CHECK_EQ(read(irqfd.resamplefd, &val, 8), 8);
	CHECK_EQ(val, 1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	val = 1;
	CHECK_EQ(write(irqfd.fd, &val, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	vm_destroy(vm);
}

static bool line_is_up(struct vm *vm, unsigned int pin)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	xioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
	return chip.chip.ioapic.irr >> pin & 1;
}

/* Two devices on one line: the end of one does not lower it for the other. */
TEST(irqfd_resample_shared)
{
	struct vm *vm = full_vm(guest_resample);
	struct kvm_irqfd a = { .gsi = 5, .flags = KVM_IRQFD_FLAG_RESAMPLE }, b = a;
	u64 val = 1;

	a.fd = eventfd(0, EFD_NONBLOCK);
	b.fd = eventfd(0, EFD_NONBLOCK);
	a.resamplefd = b.resamplefd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &a);
	xioctl(vm->fd, KVM_IRQFD, &b);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	CHECK_EQ(write(a.fd, &val, 8), 8);
	CHECK(line_is_up(vm, 5));
	b.flags = KVM_IRQFD_FLAG_DEASSIGN;
	xioctl(vm->fd, KVM_IRQFD, &b);
	CHECK(line_is_up(vm, 5));
	a.flags = KVM_IRQFD_FLAG_DEASSIGN;
	xioctl(vm->fd, KVM_IRQFD, &a);
	CHECK(!line_is_up(vm, 5));
	vm_destroy(vm);
}

static void guest_rings(void)
{
	*(volatile u32 *)DOORBELL = 7;
	*(volatile u16 *)DOORBELL = 7;
	out8(0x77, 1);
	out8(0x77, 2);
	guest_sync(1);
	*(volatile u32 *)DOORBELL = 8;
	out16(0x77, 1);
	guest_done();
}

static u64 count(int fd)
{
	u64 val;

	return read(fd, &val, 8) == 8 ? val : 0;
}

/* Needs no interrupt controller. */
TEST(ioeventfd)
{
	struct kvm_ioeventfd mmio = { .addr = DOORBELL, .len = 4, .datamatch = 7, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	struct kvm_ioeventfd any = { .addr = DOORBELL }, pio = { .addr = 0x77, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct vm *vm;

	NEED_CAP(KVM_CAP_IOEVENTFD);
	vm = vm_create(1);
	mmio.fd = eventfd(0, EFD_NONBLOCK);
	any.fd = eventfd(0, EFD_NONBLOCK);
	pio.fd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IOEVENTFD, &mmio);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IOEVENTFD, &any), -EEXIST);
	any.len = 2;
	xioctl(vm->fd, KVM_IOEVENTFD, &any);
	xioctl(vm->fd, KVM_IOEVENTFD, &pio);
	vcpu_set_long(vm->vcpu, guest_rings, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(count(mmio.fd), 1);
	CHECK_EQ(count(any.fd), 1);
	CHECK_EQ(count(pio.fd), 2);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(*(u32 *)vm->vcpu->run->mmio.data, 8);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x77);
	RUN_UNTIL_DONE(vm->vcpu);
	mmio.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IOEVENTFD, &mmio), 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IOEVENTFD, &mmio), -ENOENT);
	any.len = 3;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IOEVENTFD, &any), -EINVAL);
	vm_destroy(vm);
}

static void on_pic(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	out8(0x20, 0x20);
}

static void guest_pit(void)
{
	u64 i;

	guest_handlers[0x40] = on_pic;
	out8(0x20, 0x11);
	out8(0x21, 0x40);
	out8(0x21, 4);
	out8(0x21, 1);
	out8(0x21, 0xfe);
	out8(0x43, 0x34);
	out8(0x40, 10000 & 0xff);
	out8(0x40, 10000 >> 8);
	for (i = 1; i <= 5; i++) {
		asm volatile("sti; hlt; cli");
		GUEST_ASSERT(irqs >= i);
	}
	guest_done();
}

/* The PIT's interrupts by way of the PIC and LINT0, which is ExtINT after reset. */
TEST_TIMEOUT(pit_and_pic, 120)
{
	struct kvm_pit_config config = { .flags = 0 };
	struct kvm_pit_state2 a;
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	struct vm *vm;

	NEED_CAP(KVM_CAP_PIT2);
	vm = full_vm(guest_pit);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_PIT2, &a), -ENXIO);
	xioctl(vm->fd, KVM_CREATE_PIT2, &config);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &config), -EEXIST);
	RUN_UNTIL_DONE(vm->vcpu);
	xioctl(vm->fd, KVM_GET_PIT2, &a);
	CHECK_EQ(a.channels[0].count, 10000);
	xioctl(vm->fd, KVM_SET_PIT2, &a);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
	CHECK_EQ(chip.chip.pic.irq_base, 0x40);
	CHECK_EQ(chip.chip.pic.imr, 0xfe);
	xioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
	chip.chip_id = 3;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip), -EINVAL);
	vm_destroy(vm);
}

static void guest_split(void)
{
	x2apic_on();
	asm volatile("sti");
	guest_sync(0);
	GUEST_ASSERT_EQ(irqs, 1);
	wrmsr(X2(LINT0), 0x700);
	guest_sync(1);
	GUEST_ASSERT_EQ(irqs, 2);
	wrmsr(X2(LINT0), 0x10700);
	guest_sync(2);
	guest_done();
}

TEST(split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[1];
	} r = { .head.nr = 1, .entry[0] = { .gsi = 4, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = VECTOR | 1 << 15 } } };
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_SPLIT_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap), -EEXIST);
	vcpu = vcpu_create(vm, 0);
	xioctl(vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vcpu, guest_split, 0);
	RUN_UNTIL_SYNC(vcpu, 0);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(set_line(vm, 4, 1), 1);
	RUN_UNTIL(vcpu, KVM_EXIT_IOAPIC_EOI);
	CHECK_EQ(vcpu->run->eoi.vector, VECTOR);
	RUN_UNTIL_SYNC(vcpu, 1);
	/* LINT0 takes the interrupt of userspace's PIC now. */
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq), 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
