// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts and doorbells, with the controllers in the kernel.
 *
 * Figures that begin in userspace and end at the handler's first instruction compare the host's TSC
 * with the guest's, which are made the same (KVM_VCPU_TSC_OFFSET).
 */
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"

#define EVENTS		200
#define VECTOR		0x51
#define GSI_PIN		5
#define GSI_MSI		24
#define DOORBELL	0x20000000ull
#define DOORBELL_PORT	0x700
#define IDLE_PORT	0x710
#define APIC		0xfee00000ull
#define IOAPIC		0xfec00000ull
#define X2(reg)		(0x800 + (reg) / 16)
#define MSR_DEADLINE	0x6e0

enum { TPR = 0x80, EOI = 0xb0, SVR = 0xf0, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320, SELF = 0x3f0 };

static volatile u64 irqs, arrived, turn;

static void on_x2_irq(struct guest_frame *frame __attribute__((unused)))
{
	arrived = rdtsc();
	irqs++;
	wrmsr(X2(EOI), 0);
}

static volatile u32 *reg(u32 offset)
{
	return (volatile u32 *)(APIC + offset);
}

static void on_x_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	*reg(EOI) = 0;
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
}

static struct vm *irq_vm(unsigned int nr, void *fn, guest_handler handler)
{
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;
	unsigned int i;

	guest_handlers[VECTOR] = handler;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	cpuid = supported_cpuid(vm->kvm);
	cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 21 | 1u << 24;
	for (i = 0; i < nr; i++) {
		vcpu_create(vm, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid);
		xioctl(vm->vcpu[i].fd, KVM_SET_MP_STATE, &run);
		vcpu_set_long(&vm->vcpu[i], fn, i);
	}
	return vm;
}

#define MEASURE(name, setup, event)						\
static void name(void)								\
{										\
	u64 start;								\
	u32 i;									\
										\
	setup;									\
	for (;;) {								\
		start = rdtsc();						\
		for (i = 0; i < EVENTS; i++)					\
			event;							\
		guest_sync((rdtsc() - start) / EVENTS);				\
	}									\
}

#define STI asm volatile("sti")

MEASURE(guest_self_x2, x2apic_on(); STI, wrmsr(X2(SELF), VECTOR))
MEASURE(guest_self_x, *reg(SVR) = 0x1ff; STI, *reg(ICR) = 0x40000 | VECTOR)
MEASURE(guest_tpr, x2apic_on(), wrmsr(X2(TPR), i & 0xf0))
MEASURE(guest_eoi, x2apic_on(), wrmsr(X2(EOI), 0))
MEASURE(guest_doorbell_pio, , out8(DOORBELL_PORT, i))
MEASURE(guest_doorbell_mmio, , *(volatile u32 *)DOORBELL = i)
MEASURE(guest_deadline, x2apic_on(); wrmsr(X2(LVTT), 2 << 17 | VECTOR), wrmsr(MSR_DEADLINE, rdtsc() + (1ull << 40)))

static void guest_timed(const char *name, void *fn, guest_handler handler)
{
	struct vm *vm = irq_vm(1, fn, handler);

	figure(name, in_guest, vm->vcpu);
	vm_destroy(vm);
}

static void doorbell(const char *name, void *fn, u64 addr, u32 len, u32 flags)
{
	struct vm *vm = irq_vm(1, fn, NULL);
	struct kvm_ioeventfd bell = { .addr = addr, .len = len, .flags = flags, .fd = eventfd(0, EFD_NONBLOCK) };

	xioctl(vm->fd, KVM_IOEVENTFD, &bell);
	figure(name, in_guest, vm->vcpu);
	close(bell.fd);
	vm_destroy(vm);
}

/* From userspace to the handler: the guest waits at an exit, with interrupts on. */
static void guest_waits(void)
{
	x2apic_on();
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	*(volatile u32 *)IOAPIC = 0x10 + 2 * GSI_PIN;
	*(volatile u32 *)(IOAPIC + 0x10) = VECTOR;
	STI;
	for (;;)
		out8(IDLE_PORT, 0);
}

struct source {
	struct vm *vm;
	int fd;
	void (*raise)(struct source *s);
};

static void raise_line(struct source *s)
{
	struct kvm_irq_level irq = { .irq = GSI_PIN, .level = 1 };

	xioctl(s->vm->fd, KVM_IRQ_LINE, &irq);
}

static void raise_msi(struct source *s)
{
	struct kvm_msi msi = { .address_lo = APIC, .data = VECTOR };

	xioctl(s->vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void raise_irqfd(struct source *s)
{
	const u64 one = 1;

	REQUIRE_EQ(write(s->fd, &one, 8), 8);
}

static u64 to_handler(void *arg)
{
	struct source *s = arg;
	struct kvm_irq_level low = { .irq = GSI_PIN };
	u64 start, sum = 0, before;
	u32 i;

	for (i = 0; i < EVENTS; i++) {
		before = *guest_var(s->vm, &irqs);
		xioctl(s->vm->fd, KVM_IRQ_LINE, &low);
		start = rdtsc();
		s->raise(s);
		REQUIRE_EQ(vcpu_run_raw(s->vm->vcpu), 0);
		REQUIRE_EQ(*guest_var(s->vm, &irqs), before + 1);
		sum += *guest_var(s->vm, &arrived) - start;
	}
	return sum / EVENTS;
}

static void same_tsc(struct vcpu *vcpu)
{
	u64 offset = 0;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)&offset };

	xioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
}

static void set_routes(struct vm *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[2];
	} routes = {
		.head.nr = 2,
		.entry = {
			{ .gsi = GSI_PIN, .type = KVM_IRQ_ROUTING_IRQCHIP,
			  .u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = GSI_PIN } },
			{ .gsi = GSI_MSI, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = APIC, .data = VECTOR } },
		},
	};

	xioctl(vm->fd, KVM_SET_GSI_ROUTING, &routes);
}

static void from_userspace(void)
{
	struct source s = { .vm = irq_vm(1, guest_waits, on_x2_irq), .fd = eventfd(0, EFD_NONBLOCK) };
	struct kvm_irqfd irqfd = { .fd = s.fd, .gsi = GSI_MSI };

	same_tsc(s.vm->vcpu);
	set_routes(s.vm);
	xioctl(s.vm->fd, KVM_IRQFD, &irqfd);
	REQUIRE_EQ(vcpu_run_raw(s.vm->vcpu), 0);
	s.raise = raise_line;
	figure("irq_line", to_handler, &s);
	s.raise = raise_msi;
	figure("irq_msi", to_handler, &s);
	s.raise = raise_irqfd;
	figure("irq_irqfd", to_handler, &s);
	close(s.fd);
	vm_destroy(s.vm);
}

/*
 * Two vCPUs in turn, each halted until the other one's IPI. Rounds are shorter than a tick, which
 * makes the clock jump.
 */
#define PINGS 20

static void guest_ping(u64 me)
{
	u64 start;
	u32 i;

	x2apic_on();
	asm volatile("cli");
	for (;;) {
		start = rdtsc();
		for (i = 0; i < PINGS; i++) {
			while ((turn & 1) != me)
				asm volatile("sti; hlt; cli");
			turn++;
			wrmsr(X2(ICR), (me ^ 1) << 32 | VECTOR);
		}
		if (!me)
			guest_sync((rdtsc() - start) / PINGS / 2);
	}
}

static void *other(void *vcpu)
{
	vcpu_run_raw(vcpu);
	return NULL;
}

static void cross_vcpu(void)
{
	struct vm *vm = irq_vm(2, guest_ping, on_x2_irq);
	pthread_t thread;

	pthread_create(&thread, NULL, other, &vm->vcpu[1]);
	figure("ipi_other", in_guest, vm->vcpu);
	/* The other one sleeps in the guest: the program's end ends it. */
}

void irq_figures(void)
{
	guest_timed("ipi_self_x2apic", guest_self_x2, on_x2_irq);
	guest_timed("ipi_self_xapic", guest_self_x, on_x_irq);
	guest_timed("tsc_deadline", guest_deadline, on_x2_irq);
	guest_timed("tpr_x2apic", guest_tpr, on_x2_irq);
	guest_timed("eoi_x2apic", guest_eoi, on_x2_irq);
	doorbell("ioeventfd_pio", guest_doorbell_pio, DOORBELL_PORT, 1, KVM_IOEVENTFD_FLAG_PIO);
	doorbell("ioeventfd_mmio", guest_doorbell_mmio, DOORBELL, 4, 0);
	from_userspace();
	cross_vcpu();
}
