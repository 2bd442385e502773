// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1 enters control blocks that are random in all fields, or nearly right; a second vCPU changes them meanwhile; userspace
 * interrupts, sends NMIs and INTs, and moves nested state about. NESTED_FUZZ_SECONDS (4), NESTED_FUZZ_SEED.
 * Conditions: guests are offered SVM.
 * Expected: no refusal by the CPU of what strata made of it (KVM_EXIT_FAIL_ENTRY), no word in the host's log, a neighbour that works.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "svm.h"

static volatile u64 seed, rounds, entered, invalid;
static struct svm_vmcb good;

GUEST_INLINE u64 next(void)
{
	u64 x = seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	seed = x;
	return x;
}

static void l2_main(void)
{
	for (;;)
		vmmcall();
}

/* Values that mean something somewhere */
static u64 interesting(u64 old)
{
	u64 r = next();

	switch (r >> 8 & 15) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return 1ull << (r & 63);
	case 3: return old ^ 1ull << (r & 63);
	case 4: return old ^ 1ull << (r & 31);
	case 5: return old + 1;
	case 6: return old & ~0xfffull;
	case 7: return GPA_TABLES;
	case 8: return (u64)&svm_vmcb;
	case 9: return 0x7ffffffff000ull;
	case 10: return 0xffff800000000000ull;
	case 11: return 0x80000000ull | (r >> 16 & 0xfff);
	default: return old ^ (r & 0xff) << (r >> 16 & 56);
	}
}

static void mutate(void)
{
	u64 *words = (u64 *)&svm_vmcb, n = next() % 6, i, at;

	for (i = 0; i < n; i++) {
		at = next() % 3 ? 0x400 / 8 + next() % (0x2a0 / 8) : next() % (0x100 / 8);
		words[at] = interesting(words[at]);
	}
	/* Most of the time what keeps L2 on a leash stays. */
	if (next() % 8) {
		svm_vmcb.intercept[2] = ~0u;
		svm_vmcb.intercept[3] |= 0x91080003;
		svm_vmcb.intercept[4] |= 3;
		svm_vmcb.asid |= 1;
	}
}

static void guest_fuzz(void)
{
	svm_guest_init(l2_main);
	svm_vmcb.intercept[2] = ~0u;
	svm_vmcb.intercept[3] = 0x91080003;
	svm_vmcb.intercept[4] = 3;
	memcpy(&good, &svm_vmcb, sizeof(good));
	for (;;) {
		memcpy(&svm_vmcb, &good, sizeof(good));
		mutate();
		svm_clgi();
		rounds++;
		if (svm_vmrun(&svm_vmcb) == SVM_INVALID)
			invalid++;
		else
			entered++;
		/* NMIs and whatever else was meant for L1 */
		svm_stgi();
	}
}

/* The other vCPU scribbles over the control block and the maps. */
static void guest_flip(void)
{
	u64 x = 88172645463325252ull;
	u64 *words = (u64 *)&svm_vmcb;

	for (;;) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		words[x % 512] ^= 1ull << (x >> 32 & 63);
		svm_msrpm[x >> 9 & 0x1fff] = x >> 50;
		svm_iopm[x >> 20 & 0x1fff] = x >> 40;
		if (!(x & 15))
			guest_pause();
	}
}

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
}

static void on_signal(int sig)
{
	(void)sig;
}

static void *run_flip(void *arg)
{
	struct vcpu *vcpu = arg;

	for (;;) {
		int r = vcpu_run_raw(vcpu);

		if (r && r != -EINTR)
			return NULL;
		pthread_testcancel();
	}
}

static u64 env(const char *name, u64 otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static u64 seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* L1 again from the start, on whatever state the last life left */
static void again(struct vcpu *vcpu, u64 s)
{
	struct kvm_nested_state none = { .format = KVM_STATE_NESTED_FORMAT_SVM, .flags = KVM_STATE_NESTED_GIF_SET, .size = sizeof(none) };
	struct kvm_vcpu_events events = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };

	xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &none);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	*guest_var(vcpu->vm, &seed) = s;
	vcpu_set_long(vcpu, guest_fuzz, 0);
}

/* The state goes out and in again, sometimes with a bit turned. */
static void shake(struct vcpu *vcpu, u64 r)
{
	static union {
		struct kvm_nested_state s;
		u64 words[(sizeof(struct kvm_nested_state) + 4096) / 8];
	} state;
	struct kvm_vcpu_events events;

	state.s.size = sizeof(state);
	if (kvm_ioctl(vcpu->fd, KVM_GET_NESTED_STATE, &state))
		return;
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	if (r & 1)
		state.words[(r >> 8) % (sizeof(state) / 8)] ^= 1ull << (r >> 32 & 63);
	state.s.size = sizeof(state);
	kvm_ioctl(vcpu->fd, KVM_SET_NESTED_STATE, &state);
	kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

static void neighbour(void)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_done, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void fuzz(bool flip, u64 how_long)
{
	u64 s = env("NESTED_FUZZ_SEED", 1), end = seconds() + how_long, kicks = 0, lives = 0, last = 0, stuck = 0;
	struct itimerval tick = { .it_interval.tv_usec = 20000, .it_value.tv_usec = 20000 };
	struct kvm_interrupt irq = { .irq = 0x40 };
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t thread;
	struct vcpu *vcpu;
	struct vm *vm;

	need_svm();
	vm = vm_create(2);
	vcpu = vm->vcpu;
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_nmi;
	*guest_var(vm, &guest_handlers[0x40]) = on_nmi;
	if (flip) {
		vcpu_set_long(vcpu + 1, guest_flip, 0);
		REQUIRE_EQ(pthread_create(&thread, NULL, run_flip, vcpu + 1), 0);
	}
	again(vcpu, ++s);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	while (seconds() < end) {
		int r = vcpu_run_raw(vcpu);
		u64 now = *guest_var(vm, &rounds);

		if (r == -EINTR) {
			kicks++;
			kvm_ioctl(vcpu->fd, KVM_NMI, NULL);
			if (kicks % 3 == 0)
				kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
			if (kicks % 2)
				shake(vcpu, kicks * 0x9e3779b97f4a7c15ull);
			stuck = now == last ? stuck + 1 : 0;
			last = now;
			if (stuck < 5)
				continue;
		} else if (r) {
			tap_fail(__FILE__, __LINE__, "KVM_RUN: %d", r);
			break;
		} else if (vcpu->run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
			tap_fail(__FILE__, __LINE__, "seed %llu, round %llu: the CPU refused to enter", (unsigned long long)s,
				 (unsigned long long)now);
		}
		/* It left for userspace, or goes round and round: another life */
		stuck = 0;
		lives++;
		again(vcpu, ++s);
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ }, NULL);
	tap_note("%llu rounds, %llu entered, %llu refused, %llu lives", (unsigned long long)*guest_var(vm, &rounds),
		 (unsigned long long)*guest_var(vm, &entered), (unsigned long long)*guest_var(vm, &invalid),
		 (unsigned long long)lives);
	CHECK(*guest_var(vm, &rounds) > 20 && *guest_var(vm, &entered) > 5 && *guest_var(vm, &invalid) > 5);
	if (flip) {
		pthread_cancel(thread);
		pthread_kill(thread, SIGALRM);
		pthread_join(thread, NULL);
	}
	vm_destroy(vm);
	neighbour();
}

TEST_TIMEOUT(random_blocks, 120)
{
	fuzz(false, env("NESTED_FUZZ_SECONDS", 4));
}

TEST_TIMEOUT(changed_meanwhile, 120)
{
	fuzz(true, env("NESTED_FUZZ_SECONDS", 4));
}
