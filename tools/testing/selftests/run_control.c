// SPDX-License-Identifier: GPL-2.0
/*
 * What: how userspace stops a vCPU and looks at it: signals with and without KVM_SET_SIGNAL_MASK,
 * immediate_exit, KVM_CAP_SYNC_REGS, one vCPU run by two threads in turn, KVM_TRANSLATE.
 * Conditions: none.
 * Expected: -EINTR with KVM_EXIT_INTR, no guest instruction under immediate_exit, and the registers
 * as of the stop.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "cpu.h"

static volatile u64 counter;

static void guest_spin(void)
{
	guest_sti();
	for (;;)
		counter++;
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void catch_alarm(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGALRM, &sa, NULL);
}

static void alarm_ms(unsigned int ms)
{
	struct itimerval t = { .it_value.tv_usec = ms * 1000 };

	setitimer(ITIMER_REAL, &t, NULL);
}

TEST(signal_stops_a_loop)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 last = 0, now;
	int i;

	catch_alarm();
	vcpu_set_long(vcpu, guest_spin, 0);
	for (i = 1; i <= 5; i++) {
		alarm_ms(30);
		CHECK_EQ(vcpu_run_raw(vcpu), -EINTR);
		CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_INTR);
		CHECK_EQ(signals, i);
		now = *guest_var(vm, &counter);
		CHECK(now > last);
		last = now;
	}
	vm_destroy(vm);
}

TEST(immediate_exit)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	int i;

	vcpu_set_long(vcpu, guest_spin, 0);
	vcpu->run->immediate_exit = 1;
	/* Nothing ran, and what the last run said still stands there. */
	vcpu->run->exit_reason = KVM_EXIT_MMIO;
	for (i = 0; i < 10; i++)
		CHECK_EQ(vcpu_run_raw(vcpu), -EINTR);
	CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_MMIO);
	CHECK_EQ(*guest_var(vm, &counter), 0);
	vm_destroy(vm);
}

/* A signal blocked outside is let in during the run and stays pending behind it. */
TEST(signal_mask)
{
	struct vm *vm = vm_create(1);
	struct {
		struct kvm_signal_mask head;
		u8 set[8];
	} mask = { .head.len = 8 };
	struct timespec zero = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	catch_alarm();
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_SIGNAL_MASK, &mask), 0);
	vcpu_set_long(vm->vcpu, guest_spin, 0);
	alarm_ms(30);
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -EINTR);
	CHECK_EQ(signals, 0);
	CHECK_EQ(sigtimedwait(&set, NULL, &zero), SIGALRM);
	mask.head.len = 7;
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_SIGNAL_MASK, &mask), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_SIGNAL_MASK, (void *)8), -EFAULT);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_SET_SIGNAL_MASK, NULL), 0);
	vm_destroy(vm);
}

static void guest_sync_regs(void)
{
	u64 rbx;

	asm volatile("mov $0x1111, %%ebx; mov $0x600, %%edx; outb %%al, %%dx"
		     : "=b"(rbx) : : "rdx", "rax");
	GUEST_ASSERT_EQ(rbx, 0x2222);
	guest_done();
}

TEST(sync_regs)
{
	struct vm *vm;
	struct vcpu *vcpu;
	struct kvm_run *run;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	u64 valid, cr2;

	NEED_CAP(KVM_CAP_SYNC_REGS);
	vm = vm_create(1);
	vcpu = vm->vcpu;
	run = vcpu->run;
	valid = kvm_cap(vm->fd, KVM_CAP_SYNC_REGS);
	CHECK_EQ(valid & 7, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS);
	vcpu_set_long(vcpu, guest_sync_regs, 0);
	run->kvm_valid_regs = 1u << 31;
	CHECK_EQ(vcpu_run_raw(vcpu), -EINVAL);
	run->kvm_valid_regs = 0;
	run->kvm_dirty_regs = 1u << 31;
	CHECK_EQ(vcpu_run_raw(vcpu), -EINVAL);
	run->kvm_dirty_regs = 0;
	run->kvm_valid_regs = valid;
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK(!memcmp(&regs, &run->s.regs.regs, sizeof(regs)));
	CHECK(!memcmp(&sregs, &run->s.regs.sregs, sizeof(sregs)));
	CHECK_EQ(run->s.regs.regs.rbx, 0x1111);
	run->s.regs.regs.rbx = 0x3333;
	run->kvm_dirty_regs = 0;
	/* Not marked dirty: not taken. */
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rbx, 0x1111);
	/* One part that is refused: nothing is taken. */
	cr2 = sregs.cr2;
	run->s.regs.sregs.cr2 = cr2 + 0x1000;
	run->s.regs.events.flags = ~0u;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	CHECK_EQ(vcpu_run_raw(vcpu), -EINVAL);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	CHECK_EQ(sregs.cr2, cr2);
	run->s.regs.regs = regs;
	run->s.regs.regs.rbx = 0x2222;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	RUN_UNTIL_DONE(vcpu);
	CHECK_EQ(run->kvm_dirty_regs, 0);
	vm_destroy(vm);
}

TEST(translate)
{
	struct vm *vm = vm_create(1);
	struct kvm_translation tr = { .linear_address = GPA_HEAP + 0x123 };

	vcpu_set_long(vm->vcpu, guest_spin, 0);
	vm_map_page(vm, 0xc0005000, GPA_HEAP, PTE_P | PTE_W);
	*vm_pte(vm, 0xc0006000, 1) = 0;
	xioctl(vm->vcpu->fd, KVM_TRANSLATE, &tr);
	CHECK_EQ(tr.valid, 1);
	CHECK_EQ(tr.physical_address, GPA_HEAP + 0x123);
	tr.linear_address = 0xc0005678;
	xioctl(vm->vcpu->fd, KVM_TRANSLATE, &tr);
	CHECK_EQ(tr.valid, 1);
	CHECK_EQ(tr.physical_address, GPA_HEAP + 0x678);
	tr.linear_address = 0xc0006000;
	xioctl(vm->vcpu->fd, KVM_TRANSLATE, &tr);
	CHECK_EQ(tr.valid, 0);
	vm_destroy(vm);
}

struct mover {
	struct vcpu *vcpu;
	u64 first;
};

static void guest_count(void)
{
	u64 i;

	for (i = 1;; i++)
		guest_sync(i);
}

static void *run_some(void *arg)
{
	struct mover *m = arg;
	u64 i;

	for (i = 0; i < 20; i++)
		RUN_UNTIL_SYNC(m->vcpu, m->first + i);
	return NULL;
}

/* The vCPU's thread changes, and with it the host CPU where there is more than one. */
TEST(changes_thread)
{
	struct vm *vm = vm_create(1);
	struct mover m = { vm->vcpu, 1 };
	pthread_t thread;
	int i;

	vcpu_set_long(vm->vcpu, guest_count, 0);
	for (i = 0; i < 8; i++, m.first += 20) {
		pthread_create(&thread, NULL, run_some, &m);
		pthread_join(thread, NULL);
	}
	vm_destroy(vm);
}
