// SPDX-License-Identifier: GPL-2.0
/*
 * What: routes that change while interrupts are on their way: an irqfd's MSI under a storm of
 * KVM_SET_GSI_ROUTING, a resampled line whose route changes, goes and moves while the guest serves
 * it; a doorbell that is the interrupt of the vCPU that rings it.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: each signal is one interrupt, by the old route or by the new; no line stays up without
 * an owner, and whoever resamples hears of the end; the doorbell's interrupt comes before the vCPU
 * goes on for long.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pv.h"

#define VECTOR_A 0x51
#define VECTOR_B 0x62
#define LEVEL	0x71
#define GSI	5
#define OTHER	6
#define IOAPIC	0xfec00000ull
#define ROUNDS	300

static volatile u64 by_a, by_b, served, stop;

static void on_a(struct guest_frame *frame __attribute__((unused)))
{
	by_a++;
	wrmsr(X2(APIC_EOI), 0);
}

static void on_b(struct guest_frame *frame __attribute__((unused)))
{
	by_b++;
	wrmsr(X2(APIC_EOI), 0);
}

static void on_level(struct guest_frame *frame __attribute__((unused)))
{
	served++;
	guest_sync(0x100 + served);
	wrmsr(X2(APIC_EOI), 0);
}

struct routes {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entry[3];
};

static struct kvm_irq_routing_entry pin(u32 gsi, u32 number)
{
	return (struct kvm_irq_routing_entry) { .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = number } };
}

static struct kvm_irq_routing_entry msi(u32 gsi, u32 vector)
{
	return (struct kvm_irq_routing_entry) { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = vector } };
}

/* ---- a storm ---- */

static void guest_counts(void)
{
	x2apic_on();
	guest_sync(0);
	asm volatile("cli");
	while (!stop)
		asm volatile("sti; hlt; cli");
	guest_done();
}

static struct vm *storm_vm;
static volatile bool storm_over;

static void *turn_routes(void *arg)
{
	struct routes r = { .head.nr = 1 };
	u64 n;

	for (n = 0; !storm_over; n++) {
		r.entry[0] = msi(GSI, n & 1 ? VECTOR_B : VECTOR_A);
		xioctl(storm_vm->fd, KVM_SET_GSI_ROUTING, &r);
	}
	CHECK(n > 1);
	return arg;
}

TEST_TIMEOUT(msi_under_changing_routes, 240)
{
	struct routes r = { .head.nr = 1, .entry[0] = msi(GSI, VECTOR_A) };
	struct kvm_irqfd irqfd = { .gsi = GSI };
	pthread_t vcpu, turner;
	u64 n, one = 1;

	guest_handlers[VECTOR_A] = on_a;
	guest_handlers[VECTOR_B] = on_b;
	storm_vm = pv_apic_vm(1, guest_counts);
	xioctl(storm_vm->fd, KVM_SET_GSI_ROUTING, &r);
	irqfd.fd = eventfd(0, EFD_NONBLOCK);
	xioctl(storm_vm->fd, KVM_IRQFD, &irqfd);
	RUN_UNTIL_SYNC(storm_vm->vcpu, 0);
	pthread_create(&vcpu, NULL, run_to_done, storm_vm->vcpu);
	pthread_create(&turner, NULL, turn_routes, NULL);
	for (n = 1; n <= ROUNDS; n++) {
		if (n == ROUNDS)
			*guest_var(storm_vm, &stop) = 1;
		REQUIRE_EQ(write(irqfd.fd, &one, 8), 8);
		while (*guest_var(storm_vm, &by_a) + *guest_var(storm_vm, &by_b) < n)
			usleep(50);
		CHECK_EQ(*guest_var(storm_vm, &by_a) + *guest_var(storm_vm, &by_b), n);
	}
	storm_over = true;
	pthread_join(turner, NULL);
	pthread_join(vcpu, NULL);
	vm_destroy(storm_vm);
}

/* ---- a line that is resampled ---- */

static void ioapic_write(u32 index, u32 value)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void guest_serves(void)
{
	u32 number;

	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	x2apic_on();
	for (number = GSI; number <= OTHER; number++) {
		ioapic_write(0x11 + 2 * number, 0);
		ioapic_write(0x10 + 2 * number, LEVEL | 1 << 15);
	}
	guest_sti();
	for (;;)
		guest_sync(served);
}

static u64 resampled(int fd)
{
	u64 val;

	return read(fd, &val, 8) == 8 ? val : 0;
}

static u32 lines_up(struct vm *vm)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	xioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
	return chip.chip.ioapic.irr & (1 << GSI | 1 << OTHER);
}

static struct vm *level_vm(struct kvm_irqfd *irqfd)
{
	struct vm *vm;

	guest_handlers[LEVEL] = on_level;
	vm = pv_apic_vm(1, guest_serves);
	*irqfd = (struct kvm_irqfd) { .gsi = GSI, .flags = KVM_IRQFD_FLAG_RESAMPLE };
	irqfd->fd = eventfd(0, EFD_NONBLOCK);
	irqfd->resamplefd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, irqfd);
	RUN_UNTIL_SYNC(vm->vcpu, 0);
	return vm;
}

static void raise(struct vm *vm, const struct kvm_irqfd *irqfd, u64 serving)
{
	u64 one = 1;

	REQUIRE_EQ(write(irqfd->fd, &one, 8), 8);
	RUN_UNTIL_SYNC(vm->vcpu, 0x100 + serving);
	CHECK_EQ(resampled(irqfd->resamplefd), 0);
}

TEST(another_route_comes)
{
	struct routes r = { .head.nr = 2, .entry = { pin(GSI, GSI), msi(30, VECTOR_A) } };
	struct kvm_irqfd irqfd;
	struct vm *vm = level_vm(&irqfd);

	raise(vm, &irqfd, 1);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(lines_up(vm), 1 << GSI);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(resampled(irqfd.resamplefd), 1);
	CHECK_EQ(lines_up(vm), 0);
	vm_destroy(vm);
}

TEST(its_route_goes_and_comes_back)
{
	struct routes r = { .head.nr = 0, .entry[0] = pin(GSI, GSI) };
	struct kvm_irqfd irqfd;
	struct vm *vm;

	STRATA_ONLY("what becomes of a line without a route");
	vm = level_vm(&irqfd);
	raise(vm, &irqfd, 1);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	/* Nobody is left to lower it; the device is told to look again. */
	CHECK_EQ(lines_up(vm), 0);
	CHECK_EQ(resampled(irqfd.resamplefd), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	r.head.nr = 1;
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	raise(vm, &irqfd, 2);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(resampled(irqfd.resamplefd), 1);
	vm_destroy(vm);
}

TEST(its_route_moves)
{
	struct routes r = { .head.nr = 1, .entry[0] = pin(GSI, OTHER) };
	struct kvm_irqfd irqfd;
	struct vm *vm;

	STRATA_ONLY("what becomes of a line whose route moves");
	vm = level_vm(&irqfd);
	raise(vm, &irqfd, 1);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(lines_up(vm), 0);
	CHECK_EQ(resampled(irqfd.resamplefd), 1);
	/* As a device does that still wants service */
	CHECK_EQ(write(irqfd.fd, &(u64){ 1 }, 8), 8);
	CHECK_EQ(lines_up(vm), 1 << OTHER);
	RUN_UNTIL_SYNC(vm->vcpu, 0x102);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(resampled(irqfd.resamplefd), 1);
	CHECK_EQ(lines_up(vm), 0);
	vm_destroy(vm);
}

/* ---- a doorbell that is an interrupt ---- */

#define BELL		0x660
#define RINGS		200
/* Of a loop: far less than until anything else ends the guest */
#define SOON		100

static void guest_rings(void)
{
	u64 i, j;

	x2apic_on();
	asm volatile("sti");
	for (i = 0; i < RINGS; i++) {
		if (i & 1)
			out16(BELL, i);
		else
			out8(BELL, i);
		for (j = 0; j < SOON && by_a == i; j++)
			;
		GUEST_ASSERT_EQ(by_a, i + 1);
	}
	guest_done();
}

TEST(doorbell_interrupts_its_ringer)
{
	struct kvm_ioeventfd bell = { .addr = BELL, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct routes r = { .head.nr = 1, .entry[0] = msi(OTHER, VECTOR_A) };
	struct kvm_irqfd irqfd = { .gsi = OTHER };
	struct vm *vm;

	guest_handlers[VECTOR_A] = on_a;
	vm = pv_apic_vm(1, guest_rings);
	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
	bell.fd = irqfd.fd = eventfd(0, EFD_NONBLOCK);
	xioctl(vm->fd, KVM_IRQFD, &irqfd);
	xioctl(vm->fd, KVM_IOEVENTFD, &bell);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
