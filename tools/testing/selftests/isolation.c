// SPDX-License-Identifier: GPL-2.0
/*
 * What: guests that do their worst: triple fault, garbage in GDT, IDT and CR3, random code and page
 * tables, a tight loop, random registers; each while a second VM works in another thread.
 * Conditions: none.
 * Expected: the bad guest ends in some exit or is interrupted, never in anything else; the
 * neighbour's results stay right. A vCPU that shut down can be set up and run again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "cpu.h"

static volatile u64 stop;

/* The neighbour: sums that must come out right, through memory and exits. */
static void guest_work(void)
{
	u64 i, sum, round = 0;

	guest_sti();
	while (!stop) {
		for (i = 0, sum = 0; i < 200; i++) {
			*(volatile u64 *)(GPA_HEAP + i * 4096) = i;
			sum += *(volatile u64 *)(GPA_HEAP + i * 4096);
		}
		GUEST_ASSERT_EQ(sum, 19900);
		guest_sync(++round);
	}
	guest_done();
}

struct neighbour {
	struct vm *vm;
	pthread_t thread;
	u64 rounds;
};

static void *run_neighbour(void *arg)
{
	struct neighbour *n = arg;
	enum run_end end;

	while ((end = vcpu_run(n->vm->vcpu)) == RUN_SYNC)
		CHECK_EQ(vcpu_sync_value(n->vm->vcpu), ++n->rounds);
	CHECK_EQ(end, RUN_DONE);
	return NULL;
}

static struct neighbour *neighbour_start(void)
{
	struct neighbour *n = calloc(1, sizeof(*n));
	sigset_t set;

	n->vm = vm_create(1);
	vcpu_set_long(n->vm->vcpu, guest_work, 0);
	/* The timer is the other guest's. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&n->thread, NULL, run_neighbour, n);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return n;
}

static void neighbour_stop(struct neighbour *n)
{
	/* It is still alive: it makes progress now. */
	u64 before = n->rounds;

	while (*(volatile u64 *)&n->rounds < before + 2)
		usleep(1000);
	*guest_var(n->vm, &stop) = 1;
	pthread_join(n->thread, NULL);
	CHECK(n->rounds > 0);
	vm_destroy(n->vm);
	free(n);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void kick_in_ms(unsigned int ms)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct itimerval t = { .it_value.tv_usec = ms * 1000, .it_interval.tv_usec = 20000 };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

static void kick_off(void)
{
	struct itimerval t = { 0 };

	setitimer(ITIMER_REAL, &t, NULL);
}

TEST(triple_fault)
{
	struct neighbour *n = neighbour_start();
	struct vm *vm = vm_create(1);
	int i;

	for (i = 0; i < 10; i++) {
		vcpu_set_long(vm->vcpu, guest_shut_down, 0);
		RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
		vcpu_set_long(vm->vcpu, guest_done, 0);
		RUN_UNTIL_DONE(vm->vcpu);
	}
	vm_destroy(vm);
	neighbour_stop(n);
}

static void guest_loop(void)
{
	asm volatile("cli\n1:\tjmp 1b");
}

TEST(tight_loop)
{
	struct neighbour *n = neighbour_start();
	struct vm *vm = vm_create(1);
	int i;

	vcpu_set_long(vm->vcpu, guest_loop, 0);
	kick_in_ms(50);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(vcpu_run_raw(vm->vcpu), -EINTR);
		CHECK_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_INTR);
	}
	kick_off();
	vm_destroy(vm);
	neighbour_stop(n);
}

/* Any result will do that is an exit or a documented error; a few exits are let go on. */
static void run_whatever(struct vcpu *vcpu)
{
	int i, r;

	kick_in_ms(20);
	for (i = 0; i < 30; i++) {
		r = vcpu_run_raw(vcpu);
		if (r == -EINTR)
			break;
		if (r && r != -EFAULT && r != -EAGAIN)
			tap_fail(__FILE__, __LINE__, "KVM_RUN returned %d", r);
		if (r || vcpu->run->exit_reason == KVM_EXIT_SHUTDOWN ||
		    vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR ||
		    vcpu->run->exit_reason == KVM_EXIT_FAIL_ENTRY)
			break;
	}
	kick_off();
}

static u64 random_state = 88172645463325252ull;

static u64 rnd(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void scribble(struct vm *vm, u64 gpa, u64 bytes, unsigned int every)
{
	u64 *p = gpa_to_host(vm, gpa), i;

	for (i = 0; i < bytes / 8; i++)
		if (rnd() % every == 0)
			p[i] = rnd();
}

static void guest_uses_all(void)
{
	asm volatile("mov $0x18, %%eax; mov %%eax, %%es; int $0x30; ud2; ltr %%ax" : : : "rax");
	guest_done();
}

static void garbage(u64 gpa, u64 bytes, unsigned int every, void *fn)
{
	struct neighbour *n = neighbour_start();
	struct vm *vm = vm_create(1);
	int i;

	for (i = 0; i < 40; i++) {
		vcpu_set_long(vm->vcpu, fn, 0);
		scribble(vm, gpa, bytes, every);
		run_whatever(vm->vcpu);
	}
	vm_destroy(vm);
	neighbour_stop(n);
}

TEST(garbage_gdt_and_idt)
{
	garbage(GPA_GDT, 8192, 1, guest_uses_all);
}

TEST(garbage_page_tables)
{
	garbage(GPA_TABLES, 16 * 4096, 3, guest_uses_all);
}

TEST(garbage_cr3)
{
	struct neighbour *n = neighbour_start();
	struct vm *vm = vm_create(1);
	struct kvm_sregs sregs;
	int i;

	for (i = 0; i < 40; i++) {
		vcpu_set_long(vm->vcpu, guest_uses_all, 0);
		xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
		sregs.cr3 = rnd() & 0xfffffffff000ull;
		if (!kvm_ioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs))
			run_whatever(vm->vcpu);
	}
	vm_destroy(vm);
	neighbour_stop(n);
}

TEST_TIMEOUT(random_code, 120)
{
	struct neighbour *n = neighbour_start();
	struct vm *vm = vm_create(1);
	struct kvm_sregs clean;
	int i;

	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &clean);
	for (i = 0; i < 150; i++) {
		scribble(vm, GPA_HEAP, 4096, 1);
		xioctl(vm->vcpu->fd, KVM_SET_SREGS, &clean);
		switch (i % 3) {
		case 0:
			vcpu_set_long(vm->vcpu, (void *)GPA_HEAP, 0);
			break;
		case 1:
			vcpu_set_prot(vm->vcpu, GPA_HEAP);
			break;
		case 2:
			scribble(vm, GPA_PAYLOAD, 4096, 1);
			vcpu_set_real(vm->vcpu, GPA_PAYLOAD >> 4, 0);
			break;
		}
		run_whatever(vm->vcpu);
	}
	vm_destroy(vm);
	neighbour_stop(n);
}
