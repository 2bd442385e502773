// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_GET_MP_STATE and KVM_SET_MP_STATE: each state of x86, what KVM_RUN does in it, and
 * states that there are not.
 * Conditions: KVM_CREATE_IRQCHIP; the last case without. INIT and SIPI are init_sipi's.
 * Expected: what was set is read back; a vCPU that is not runnable waits for its event and for
 * nothing else.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "pv.h"

#define VECTOR 0x51

static volatile u64 irqs;

static void on_irq(struct guest_frame *frame __attribute__((unused)))
{
	irqs++;
	wrmsr(X2(APIC_EOI), 0);
}

static void guest_counts(void)
{
	x2apic_on();
	guest_sti();
	for (;;)
		guest_sync(irqs);
}

static struct vm *counting_vm(void)
{
	guest_handlers[VECTOR] = on_irq;
	return pv_apic_vm(2, guest_counts);
}

static int set(struct vcpu *vcpu, u32 state)
{
	struct kvm_mp_state mp = { .mp_state = state };

	return kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
}

static void send(struct vm *vm, u32 dest)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = VECTOR };

	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
}

TEST(set_and_get)
{
	struct vm *vm = counting_vm();
	u32 state;

	for (state = 0; state < 12; state++) {
		u32 before = vcpu_mp_state(&vm->vcpu[1]);
		/* SIPI_RECEIVED is one that waits with its SIPI there. */
		int ret = state <= KVM_MP_STATE_SIPI_RECEIVED ? 0 : -EINVAL;

		if (!on_strata() && (ret || state == KVM_MP_STATE_SIPI_RECEIVED))
			break;
		CHECK_EQ(set(&vm->vcpu[1], state), ret);
		CHECK_EQ(vcpu_mp_state(&vm->vcpu[1]), ret ? before : state);
		CHECK_EQ(vcpu_mp_state(&vm->vcpu[1]), ret ? before : state);
	}
	vm_destroy(vm);
}

static void on_signal(int sig __attribute__((unused)))
{
}

static void *run_raw(void *vcpu)
{
	return (void *)(long)vcpu_run_raw(vcpu);
}

/*
 * Waits in KVM_RUN until it is told to stop: the state is as before, and no instruction was done.
 */
static void waits(struct vcpu *vcpu)
{
	struct kvm_regs before, after;
	u32 state = vcpu_mp_state(vcpu);
	pthread_t thread;
	void *ret;

	xioctl(vcpu->fd, KVM_GET_REGS, &before);
	vcpu->run->immediate_exit = 0;
	pthread_create(&thread, NULL, run_raw, vcpu);
	usleep(20000);
	vcpu->run->immediate_exit = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, &ret);
	vcpu->run->immediate_exit = 0;
	CHECK_EQ((long)ret, -EINTR);
	CHECK_EQ(vcpu_mp_state(vcpu), state);
	xioctl(vcpu->fd, KVM_GET_REGS, &after);
	CHECK_EQ(after.rip, before.rip);
}

TEST(halted_waits_for_an_interrupt)
{
	struct vm *vm = counting_vm();
	struct vcpu *vcpu = vm->vcpu;

	STRATA_ONLY("a signal's KVM_RUN changes no state");
	signal(SIGUSR1, on_signal);
	RUN_UNTIL_SYNC(vcpu, 0);
	RUN_UNTIL_SYNC(&vm->vcpu[1], 0);
	CHECK_EQ(set(vcpu, KVM_MP_STATE_HALTED), 0);
	waits(vcpu);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_HALTED);
	/* Another processor's interrupt is none of its own. */
	send(vm, 1);
	waits(vcpu);
	send(vm, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu_mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	RUN_UNTIL_SYNC(vcpu, 1);
	/* Taken back, it goes on without. */
	CHECK_EQ(set(vcpu, KVM_MP_STATE_HALTED), 0);
	waits(vcpu);
	CHECK_EQ(set(vcpu, KVM_MP_STATE_RUNNABLE), 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	vm_destroy(vm);
}

/* Those that wait for INIT or SIPI do not hear interrupts. */
TEST(others_do_not_run)
{
	static const u32 states[] = { KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED };
	struct vm *vm;
	u32 i;

	STRATA_ONLY("a signal's KVM_RUN changes no state");
	signal(SIGUSR1, on_signal);
	for (i = 0; i < 2; i++) {
		vm = counting_vm();
		RUN_UNTIL_SYNC(vm->vcpu, 0);
		CHECK_EQ(set(vm->vcpu, states[i]), 0);
		waits(vm->vcpu);
		send(vm, 0);
		waits(vm->vcpu);
		CHECK_EQ(set(vm->vcpu, KVM_MP_STATE_RUNNABLE), 0);
		RUN_UNTIL_SYNC(vm->vcpu, 1);
		vm_destroy(vm);
	}
}

TEST(without_an_apic)
{
	struct vm *vm = vm_create(1);
	u32 state;

	CHECK_EQ(vcpu_mp_state(vm->vcpu), KVM_MP_STATE_RUNNABLE);
	for (state = 0; state < 12; state++) {
		CHECK_EQ(set(vm->vcpu, state), state == KVM_MP_STATE_RUNNABLE ? 0 : -EINVAL);
		CHECK_EQ(vcpu_mp_state(vm->vcpu), KVM_MP_STATE_RUNNABLE);
	}
	vm_destroy(vm);
}
