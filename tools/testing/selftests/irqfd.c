// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_IRQFD: an eventfd that is closed, several on one interrupt number, edges and levels,
 * resamplers of their own and shared, a line that userspace holds up as well, a resampler that is
 * closed, what each call refuses.
 * Conditions: KVM_CREATE_IRQCHIP; the split irqchip where the case says so.
 * Expected: a signal is an interrupt; a line that is served falls once for all that share it, and
 * each of them is told; documented errnos.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pv.h"

#define VECTOR	0x51
#define MSI	0x62
#define PIN	5
#define GSI_MSI	30
#define IOAPIC	0xfec00000ull
#define LEVEL	(1 << 15)

static volatile u64 irqs, msis;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	guest_sync(0x100 + irqs);
	wrmsr(X2(APIC_EOI), 0);
}

static void on_msi(struct guest_frame *frame __attribute__((unused)))
{
	msis++;
	wrmsr(X2(APIC_EOI), 0);
}

static void ioapic_write(u32 index, u32 value)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void guest_serves(u64 how)
{
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	x2apic_on();
	ioapic_write(0x11 + 2 * PIN, 0);
	ioapic_write(0x10 + 2 * PIN, VECTOR | how);
	guest_sti();
	for (;;)
		guest_sync(irqs);
}

static void guest_edge(void)
{
	guest_serves(0);
}

static void guest_level(void)
{
	guest_serves(LEVEL);
}

static struct vm *irqfd_vm(void *fn)
{
	struct vm *vm;

	NEED_CAP(KVM_CAP_IRQFD);
	NEED_CAP(KVM_CAP_IRQFD_RESAMPLE);
	guest_handlers[VECTOR] = on_irq;
	guest_handlers[MSI] = on_msi;
	vm = pv_apic_vm(1, fn);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	return vm;
}

static struct kvm_irqfd assigned(struct vm *vm, u32 gsi, u32 flags)
{
	struct kvm_irqfd f = { .gsi = gsi, .flags = flags, .fd = eventfd(0, EFD_NONBLOCK) };

	if (flags & KVM_IRQFD_FLAG_RESAMPLE)
		f.resamplefd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &f);
	return f;
}

static int deassign(struct vm *vm, const struct kvm_irqfd *f)
{
	struct kvm_irqfd arg = *f;

	arg.flags = KVM_IRQFD_FLAG_DEASSIGN;
	return kvm_ioctl(vm->fd, KVM_IRQFD, &arg);
}

static void signal_it(const struct kvm_irqfd *f)
{
	CHECK_EQ(write(f->fd, &(u64){ 1 }, 8), 8);
}

static u64 told(const struct kvm_irqfd *f)
{
	u64 val;

	return read(f->resamplefd, &val, 8) == 8 ? val : 0;
}

static void set_line(struct vm *vm, u32 level)
{
	struct kvm_irq_level irq = { .irq = PIN, .level = level };

	xioctl(vm->fd, KVM_IRQ_LINE, &irq);
}

static bool line_is_up(struct vm *vm)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (!on_strata())
		usleep(20000);
	xioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
	return chip.chip.ioapic.irr >> PIN & 1;
}

/*
 * The next interrupt is number @n, and is being served; then it is over and no other comes. Another
 * module may take its time to raise it.
 */
static void serving(struct vm *vm, u64 n)
{
	enum run_end end;

	do {
		end = vcpu_run(vm->vcpu);
	} while (!on_strata() && end == RUN_SYNC && vcpu_sync_value(vm->vcpu) == n - 1);
	REQUIRE_EQ(end, RUN_SYNC);
	REQUIRE_EQ(vcpu_sync_value(vm->vcpu), 0x100 + n);
}

static void over(struct vm *vm, u64 n)
{
	RUN_UNTIL_SYNC(vm->vcpu, n);
	RUN_UNTIL_SYNC(vm->vcpu, n);
}

TEST(two_edges_on_one_number)
{
	struct vm *vm = irqfd_vm(guest_edge);
	struct kvm_irqfd a = assigned(vm, PIN, 0), b = assigned(vm, PIN, 0);

	signal_it(&a);
	serving(vm, 1);
	/* While the first one is in service the second is pending. */
	signal_it(&b);
	serving(vm, 2);
	over(vm, 2);
	CHECK(!line_is_up(vm));
	CHECK_EQ(deassign(vm, &a), 0);
	signal_it(&a);
	over(vm, 2);
	signal_it(&b);
	serving(vm, 3);
	over(vm, 3);
	/* Its signal of meanwhile waits for it. */
	xioctl(vm->fd, KVM_IRQFD, &a);
	serving(vm, 4);
	over(vm, 4);
	vm_destroy(vm);
}

/* Both are told of the end, whoever was signalled; who still wants service says so again. */
TEST(two_levels_with_a_resampler_each)
{
	struct vm *vm = irqfd_vm(guest_level);
	struct kvm_irqfd a = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE),
			 b = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE);

	signal_it(&a);
	signal_it(&b);
	serving(vm, 1);
	CHECK(line_is_up(vm));
	CHECK_EQ(told(&a) + told(&b), 0);
	over(vm, 1);
	CHECK(!line_is_up(vm));
	CHECK_EQ(told(&a), 1);
	CHECK_EQ(told(&b), 1);
	signal_it(&b);
	serving(vm, 2);
	over(vm, 2);
	CHECK_EQ(told(&a), 1);
	CHECK_EQ(told(&b), 1);
	CHECK_EQ(deassign(vm, &a), 0);
	signal_it(&b);
	serving(vm, 3);
	over(vm, 3);
	CHECK_EQ(told(&a), 0);
	CHECK_EQ(told(&b), 1);
	vm_destroy(vm);
}

TEST(two_levels_with_one_resampler)
{
	struct vm *vm = irqfd_vm(guest_level);
	struct kvm_irqfd a = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE), b = a;

	b.fd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &b);
	signal_it(&b);
	serving(vm, 1);
	over(vm, 1);
	CHECK(told(&a) >= 1);
	/* The one that goes does not take the line or the resampler along. */
	signal_it(&a);
	CHECK_EQ(deassign(vm, &b), 0);
	CHECK(line_is_up(vm));
	serving(vm, 2);
	over(vm, 2);
	CHECK_EQ(told(&a), 1);
	CHECK(!line_is_up(vm));
	vm_destroy(vm);
}

/* A line is up as long as anybody holds it. */
TEST(level_beside_userspace)
{
	struct vm *vm = irqfd_vm(guest_level);
	struct kvm_irqfd f = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE);

	signal_it(&f);
	set_line(vm, 1);
	serving(vm, 1);
	/* Its own half falls at the end of service, and the line still is up. */
	serving(vm, 2);
	CHECK_EQ(told(&f), 1);
	CHECK(line_is_up(vm));
	set_line(vm, 0);
	CHECK(!line_is_up(vm));
	over(vm, 2);
	set_line(vm, 1);
	signal_it(&f);
	set_line(vm, 0);
	CHECK(line_is_up(vm));
	CHECK_EQ(deassign(vm, &f), 0);
	CHECK(!line_is_up(vm));
	vm_destroy(vm);
}

/* The last descriptor's end is the irqfd's, and takes back what it holds up. */
TEST(closed)
{
	struct vm *vm = irqfd_vm(guest_level);
	struct kvm_irqfd f = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE), copy = f, other;

	copy.fd = dup(f.fd);
	signal_it(&f);
	CHECK(line_is_up(vm));
	close(f.fd);
	CHECK_EQ(deassign(vm, &f), -EBADF);
	/* There still is a descriptor. */
	serving(vm, 1);
	over(vm, 1);
	CHECK_EQ(told(&f), 1);
	signal_it(&copy);
	CHECK(line_is_up(vm));
	close(copy.fd);
	while (line_is_up(vm))
		usleep(1000);
	/*
	 * The line had its interrupt pending, if the guest was quick; the number is free for
	 * others.
	 */
	other = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE);
	while (vcpu_run(vm->vcpu) == RUN_SYNC && vcpu_sync_value(vm->vcpu) >= 0x100)
		;
	told(&other);
	signal_it(&other);
	CHECK(line_is_up(vm));
	vm_destroy(vm);
}

/* To close the resampler's descriptor is not to end the irqfd. */
TEST(resampler_closed)
{
	struct vm *vm = irqfd_vm(guest_level);
	struct kvm_irqfd f = assigned(vm, PIN, KVM_IRQFD_FLAG_RESAMPLE);
	u64 n;

	close(f.resamplefd);
	for (n = 1; n <= 3; n++) {
		signal_it(&f);
		serving(vm, n);
		over(vm, n);
		CHECK(!line_is_up(vm));
	}
	vm_destroy(vm);
}

/* An edge and a message by two eventfds at once, and the VM goes while both are there. */
TEST(pin_and_message)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[2];
	} r = { .head.nr = 2, .entry = {
		{ .gsi = PIN, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = PIN } },
		{ .gsi = GSI_MSI, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = 0xfee00000, .data = MSI } } } };
	struct vm *vm = irqfd_vm(guest_edge);
	struct kvm_irqfd pin, msi;
	u64 i;

	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	pin = assigned(vm, PIN, 0);
	msi = assigned(vm, GSI_MSI, 0);
	for (i = 1; i <= 5; i++) {
		signal_it(&pin);
		signal_it(&msi);
		serving(vm, i);
		over(vm, i);
		CHECK_EQ(*guest_var(vm, &msis), i);
	}
	vm_destroy(vm);
	signal_it(&pin);
	signal_it(&msi);
}

TEST(errors)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };
	struct kvm_irqfd f = { .gsi = PIN, .fd = eventfd(0, EFD_NONBLOCK) }, bad;
	struct vm *vm = vm_create_bare(0);

	NEED_CAP(KVM_CAP_IRQFD);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), -EINVAL);
	xioctl(vm->fd, KVM_ENABLE_CAP, &split);
	f.resamplefd = f.fd;
	f.flags = KVM_IRQFD_FLAG_RESAMPLE;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), -EINVAL);
	f.flags = 0;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), 0);
	vm_destroy(vm);

	vm = vm_create_bare(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), -EBUSY);
	bad = f;
	bad.gsi++;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EBUSY);
	/* Another number's irqfd is not this one. */
	CHECK_EQ(deassign(vm, &bad), 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), -EBUSY);
	CHECK_EQ(deassign(vm, &f), 0);
	bad.flags = 1 << 2;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EINVAL);
	bad.flags = 0;
	bad.fd = -1;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EBADF);
	bad.fd = vm->fd;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EINVAL);
	bad = f;
	bad.flags = KVM_IRQFD_FLAG_RESAMPLE;
	bad.resamplefd = -1;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EBADF);
	bad.resamplefd = vm->fd;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &bad), -EINVAL);
	/* What was refused left nothing behind. */
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_IRQFD, &f), 0);
	vm_destroy(vm);
}
