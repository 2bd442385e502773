// SPDX-License-Identifier: GPL-2.0
/*
 * What: the local APIC in the kernel: IPIs by x2APIC and MMIO, timers, HLT that waits, INIT and
 * SIPI, TPR, GET/SET of its state.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: each interrupt once, at the moment the APIC allows it; processors start where the SIPI
 * says.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define VECTOR		0x51
#define TIMER		0x61
#define MSR_DEADLINE	0x6e0
#define X2(reg)		(0x800 + (reg) / 16)
#define APIC		0xfee00000ull

enum {
	ID = 0x20,
	TPR = 0x80,
	EOI = 0xb0,
	SVR = 0xf0,
	ISR = 0x100,
	ICR = 0x300,
	ICR2 = 0x310,
	LVTT = 0x320,
	TMICT = 0x380,
	TDCR = 0x3e0,
	SELF = 0x3f0
};

static volatile u64 irqs, timers, ready;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(EOI), 0);
}

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	timers++;
	wrmsr(X2(EOI), 0);
}

static void on_mmio_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	*(volatile u32 *)(APIC + EOI) = 0;
}

static struct kvm_cpuid2 *cpuid_with_deadline(int kvm)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);

	cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 24;
	return cpuid;
}

static struct vm *apic_vm(unsigned int nr, void *fn)
{
	struct kvm_mp_state run = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm;
	unsigned int i;

	NEED_CAP(KVM_CAP_IRQCHIP);
	guest_handlers[VECTOR] = on_irq;
	guest_handlers[TIMER] = on_timer;
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < nr; i++) {
		vcpu_create(vm, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid_with_deadline(vm->kvm));
		xioctl(vm->vcpu[i].fd, KVM_SET_MP_STATE, &run);
		vcpu_set_long(&vm->vcpu[i], fn, i);
	}
	return vm;
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
}

static void guest_self_ipi(void)
{
	u64 i;

	x2apic_on();
	GUEST_ASSERT_EQ(rdmsr(X2(ID)), 0);
	wrmsr(X2(SELF), VECTOR);
	GUEST_ASSERT_EQ(irqs, 0);
	asm volatile("sti; nop");
	GUEST_ASSERT_EQ(irqs, 1);
	for (i = 2; i < 50; i++) {
		wrmsr(X2(i & 1 ? SELF : ICR), i & 1 ? VECTOR : 0x40000 | VECTOR);
		GUEST_ASSERT_EQ(irqs, i);
	}
	/* Held back by TPR, by MSR and by CR8, until it is lowered. */
	wrmsr(X2(TPR), 0x50);
	GUEST_ASSERT_EQ(read_cr8(), 5);
	wrmsr(X2(SELF), VECTOR);
	GUEST_ASSERT_EQ(irqs, 49);
	write_cr8(4);
	GUEST_ASSERT_EQ(irqs, 50);
	GUEST_ASSERT_EQ(rdmsr(X2(TPR)), 0x40);
	write_cr8(6);
	wrmsr(X2(SELF), VECTOR);
	GUEST_ASSERT_EQ(irqs, 50);
	wrmsr(X2(TPR), 0);
	GUEST_ASSERT_EQ(irqs, 51);
	GUEST_ASSERT_EQ(wrmsr_try(X2(SELF), 0x100), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(X2(ID), 1), GP_VECTOR);
	guest_done();
}

static volatile u64 nmis;

static void on_nmi(struct guest_frame *frame __attribute__((unused)))
{
	nmis++;
}

/* The host drops the pages at each sync; what it takes to deliver is not mapped then. */
static void guest_delivery_faults(void)
{
	u64 i;

	x2apic_on();
	guest_sti();
	for (i = 1; i <= 4; i++) {
		guest_sync(i);
		GUEST_ASSERT_EQ(nmis, 1);
		wrmsr(X2(SELF), VECTOR);
		asm volatile("nop");
		GUEST_ASSERT_EQ(irqs, i);
		GUEST_ASSERT_EQ(nmis, 1);
		GUEST_ASSERT_EQ(rdmsr(X2(ISR) + VECTOR / 32), 0);
	}
	guest_done();
}

TEST(delivery_faults)
{
	struct vm *vm;
	u64 i;

	if (host_forgets_virtual_interrupts())
		tap_skip("Bochs forgets an interrupt in delivery");
	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = apic_vm(1, guest_delivery_faults);
	for (i = 1; i <= 4; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, i);
		if (i == 1)
			xioctl(vm->vcpu->fd, KVM_NMI, NULL);
		vm_drop_pages(vm, i == 1 ? 0 : i == 2 ? DROP_IDT : i == 3 ? DROP_STACK : DROP_ALL);
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(self_ipi)
{
	struct vm *vm = apic_vm(1, guest_self_ipi);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static volatile u32 *reg(u32 offset)
{
	return (volatile u32 *)(APIC + offset);
}

static void guest_xapic(void)
{
	*reg(SVR) = 0x1ff;
	GUEST_ASSERT_EQ(*reg(SVR), 0x1ff);
	GUEST_ASSERT_EQ(*reg(ID) >> 24, 0);
	asm volatile("sti; nop");
	*reg(ICR2) = 0;
	*reg(ICR) = VECTOR;
	GUEST_ASSERT_EQ(irqs, 1);
	*reg(ICR) = 0x40000 | VECTOR;
	GUEST_ASSERT_EQ(irqs, 2);
	guest_done();
}

TEST(xapic_mmio)
{
	struct vm *vm = apic_vm(1, guest_xapic);

	guest_handlers[VECTOR] = on_mmio_irq;
	*guest_var(vm, &guest_handlers[VECTOR]) = on_mmio_irq;
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_timers(void)
{
	u64 i;

	x2apic_on();
	wrmsr(X2(TDCR), 0xb);
	wrmsr(X2(LVTT), TIMER);
	asm volatile("cli");
	for (i = 1; i <= 5; i++) {
		wrmsr(X2(TMICT), 1000000);
		asm volatile("sti; hlt; cli");
		GUEST_ASSERT_EQ(timers, i);
	}
	wrmsr(X2(LVTT), TIMER | 1 << 17);
	wrmsr(X2(TMICT), 2000000);
	for (i = 6; i <= 10; i++) {
		asm volatile("sti; hlt; cli");
		GUEST_ASSERT(timers >= i);
	}
	wrmsr(X2(TMICT), 0);
	asm volatile("sti; nop; cli");
	timers = 0;
	wrmsr(X2(LVTT), TIMER | 2 << 17);
	for (i = 1; i <= 5; i++) {
		u64 deadline = rdtsc() + 1000000;

		wrmsr(MSR_DEADLINE, deadline);
		asm volatile("sti; hlt; cli");
		GUEST_ASSERT_EQ(timers, i);
		GUEST_ASSERT(rdtsc() >= deadline);
		GUEST_ASSERT_EQ(rdmsr(MSR_DEADLINE), 0);
	}
	/* In the past: at once. */
	wrmsr(MSR_DEADLINE, 1);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(timers, 6);
	guest_done();
}

TEST_TIMEOUT(apic_timers, 120)
{
	struct vm *vm = apic_vm(1, guest_timers);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

#define ROUNDS 300

/* Each sends to the other and halts until it hears back: a lost wake-up hangs. */
static void guest_ping(u64 me)
{
	u64 i;

	x2apic_on();
	guest_sti();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (ready < 2)
		guest_pause();
	asm volatile("cli");
	for (i = 0; i < ROUNDS; i++) {
		if (me)
			while (ready - 2 == 2 * i)
				asm volatile("sti; hlt; cli");
		__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
		wrmsr(X2(ICR), (me ^ 1) << 32 | VECTOR);
		if (!me)
			while (ready - 2 == 2 * i + 1)
				asm volatile("sti; hlt; cli");
	}
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

TEST_TIMEOUT(ipi_ping_pong, 180)
{
	struct vm *vm = apic_vm(2, guest_ping);
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(*guest_var(vm, &ready), 2 + 2 * ROUNDS);
	vm_destroy(vm);
}

/* The started processor says in memory that it runs, and where; then it halts for good. */
asm(".pushsection .rodata\n"
    "ap_start: .code16\n"
    "	mov %cs, %ax\n"
    "	xor %bx, %bx\n"
    "	mov %bx, %ds\n"
    "	mov %ax, 0x7000\n"
    "	cli\n"
    "1:	hlt\n"
    "	jmp 1b\n"
    "ap_end: .code64\n"
    ".popsection");
extern const char ap_start[], ap_end[];

static void guest_starts_ap(void)
{
	x2apic_on();
	/* A SIPI before the first INIT is nothing. */
	wrmsr(X2(ICR), 1ull << 32 | 0x609);
	wrmsr(X2(ICR), 1ull << 32 | 0x4500);
	wrmsr(X2(ICR), 1ull << 32 | 0x608);
	guest_sti();
	while (!*(volatile u16 *)0x7000)
		guest_pause();
	GUEST_ASSERT_EQ(*(volatile u16 *)0x7000, 0x800);
	guest_done();
}

static void *run_forever(void *arg)
{
	struct vcpu *vcpu = arg;

	while (vcpu_run_raw(vcpu) == -EINTR && !vcpu->run->immediate_exit)
		;
	return NULL;
}

static void on_signal(int sig __attribute__((unused)))
{
}

TEST_TIMEOUT(init_sipi, 120)
{
	struct vm *vm = apic_vm(2, guest_starts_ap);
	pthread_t thread;
	u32 state;

	signal(SIGUSR1, on_signal);
	vm_load_payload(vm, 0, ap_start, ap_end);
	vcpu_set_mp_state(&vm->vcpu[1], KVM_MP_STATE_UNINITIALIZED);
	pthread_create(&thread, NULL, run_forever, &vm->vcpu[1]);
	RUN_UNTIL_DONE(vm->vcpu);
	vm->vcpu[1].run->immediate_exit = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	state = vcpu_mp_state(&vm->vcpu[1]);
	CHECK(state == KVM_MP_STATE_RUNNABLE || state == KVM_MP_STATE_HALTED);
	vm_destroy(vm);
}

static void guest_state(void)
{
	x2apic_on();
	wrmsr(X2(TPR), 0x20);
	wrmsr(X2(LVTT), TIMER);
	wrmsr(X2(SELF), VECTOR);
	guest_sync(1);
	asm volatile("sti; nop");
	GUEST_ASSERT_EQ(irqs, 1);
	guest_done();
}

/* A pending vector is part of the state: taken out it is gone, put back it arrives. */
TEST(get_set_lapic)
{
	struct vm *vm = apic_vm(1, guest_state);
	struct kvm_lapic_state a, b, none;
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_sregs sregs;

	RUN_UNTIL_SYNC(vcpu, 1);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &a);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &b);
	CHECK(!memcmp(&a, &b, sizeof(a)));
	CHECK_EQ(*(u32 *)(a.regs + TPR), 0x20);
	CHECK_EQ(*(u32 *)(a.regs + 0x200 + VECTOR / 32 * 16), 1u << VECTOR % 32);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cr8, 2);
	CHECK_EQ(sregs.apic_base, APIC | 1 << 8 | 3 << 10);
	none = a;
	memset(none.regs + 0x200, 0, 0x80);
	xioctl(vcpu->fd, KVM_SET_LAPIC, &none);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &b);
	CHECK(!memcmp(&none, &b, sizeof(b)));
	xioctl(vcpu->fd, KVM_SET_LAPIC, &a);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

TEST(errors)
{
	struct kvm_interrupt irq = { .irq = 0x30 };
	struct kvm_lapic_state s;
	struct vm *vm = vm_create_bare(0);

	NEED_CAP(KVM_CAP_IRQCHIP);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	vcpu_create(vm, 0);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_BOOT_CPU_ID, 0), -EBUSY);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_INTERRUPT, &irq), -ENXIO);
	vm_destroy(vm);
	vm = vm_create_bare(1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_LAPIC, &s), -EINVAL);
	vm_destroy(vm);
	vm = vm_create_bare(0);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_BOOT_CPU_ID, kvm_cap(vm->fd, KVM_CAP_MAX_VCPU_ID)), -EINVAL);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_SET_BOOT_CPU_ID, 1ull << 32), -EINVAL);
	vm_destroy(vm);
}
