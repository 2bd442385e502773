// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1 enters control blocks that are random in all fields, or nearly right; a second vCPU
 * changes them meanwhile; userspace interrupts, sends NMIs, INTs and SMIs whose save area it
 * changes, and moves nested state about. NESTED_FUZZ_SECONDS (4), NESTED_FUZZ_SEED.
 * Conditions: guests are offered SVM; SMM for the last case.
 * Expected: no refusal by the CPU of what strata made of it (KVM_EXIT_FAIL_ENTRY), an L1 that goes
 * on once its memory is new, no word in the host's log, a neighbour that works.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "emulator.h"
#include "smm.h"
#include "state.h"
#include "svm.h"

static volatile u64 seed, rounds, entered, invalid;
static struct svm_vmcb good;
static volatile bool under_tcg;

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

/*
 * Bits of a word of the control block that do not change by chance. TCG ends where it takes a stack
 * from a TR that is no TSS. An exit with EFER.LME set and CR4.PAE clear is the end of the host's
 * CPU there.
 */
GUEST_INLINE u64 staying(u64 word)
{
	if (!under_tcg)
		return 0;
	switch (word * 8) {
	case offsetof(struct svm_vmcb, tr):
	case offsetof(struct svm_vmcb, tr) + 8:
		return ~0ull;
	case offsetof(struct svm_vmcb, cr4):
		return CR4_PAE;
	}
	return 0;
}

static void mutate(void)
{
	u64 *words = (u64 *)&svm_vmcb, n = next() % 6, i, at;

	for (i = 0; i < n; i++) {
		at = next() % 3 ? 0x400 / 8 + next() % (0x2a0 / 8) : next() % (0x100 / 8);
		words[at] ^= (words[at] ^ interesting(words[at])) & ~staying(at);
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
		words[x % 512] ^= 1ull << (x >> 32 & 63) & ~staying(x % 512);
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

		if ((r && r != -EINTR) || vcpu->run->immediate_exit)
			return NULL;
		/* What it runs on was written over */
		if (!r)
			vcpu_set_long(vcpu, guest_flip, 0);
	}
}

/* The timer's signals are for the first vCPU's thread alone. */
static pthread_t start_flip(struct vcpu *vcpu)
{
	pthread_t thread;
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	vcpu_set_long(vcpu, guest_flip, 0);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	REQUIRE_EQ(pthread_create(&thread, NULL, run_flip, vcpu), 0);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	return thread;
}

/* A signal alone could come just before the thread goes into KVM_RUN, and be gone. */
static void stop_flip(struct vcpu *vcpu, pthread_t thread)
{
	vcpu->run->immediate_exit = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
}

static u64 seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* TCG ends where L2, which has L1's TR, takes a stack from a busy TSS outside long mode. */
static void idle_task(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.tr.type = 9;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

/* L1 again from the start, on whatever state the last life left */
static void again(struct vcpu *vcpu, u64 s)
{
	struct kvm_nested_state none = { .format = KVM_STATE_NESTED_FORMAT_SVM, .flags = KVM_STATE_NESTED_GIF_SET, .size = sizeof(none) };
	struct kvm_vcpu_events events = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
						     KVM_VCPUEVENT_VALID_SMM };

	xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &none);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
	*guest_var(vcpu->vm, &seed) = s;
	vcpu_set_long(vcpu, guest_fuzz, 0);
	if (*guest_var(vcpu->vm, &under_tcg))
		idle_task(vcpu);
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

/*
 * A bit of the save area that RSM will read, mostly. Left out: SMBASE, and what TCG does not
 * survive: some combinations of control registers, a TR that is no TSS, many breakpoints.
 */
static void change_smram(u8 *smram, u64 r)
{
	unsigned int at = (r >> 8) % 512;

	if (!(r & 3) || (at & ~15u) == S64_TR || (at & ~7u) == S64_DR7 || (at & ~7u) == S64_EFER ||
	    (at & ~7u) == S64_CR4 || (at & ~7u) == S64_CR0 || (at & ~7u) == S64_SMBASE)
		return;
	smram[SMM_SAVE + at] ^= 1 << (r >> 32 & 7);
}

/*
 * L2 and what RSM leads to may write anywhere, so into the counters, L1's code and its page tables.
 * A life in which L1 does nothing is the last on this memory.
 */
static u8 *pristine;

static void renew(struct vm *vm)
{
	const u64 counts[] = { *guest_var(vm, &rounds), *guest_var(vm, &entered), *guest_var(vm, &invalid) };

	memcpy(vm->mem, pristine, SLOT0_SIZE);
	*guest_var(vm, &rounds) = counts[0];
	*guest_var(vm, &entered) = counts[1];
	*guest_var(vm, &invalid) = counts[2];
}

static void neighbour(void)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_done, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

enum { FLIP = 1, SMI = 2 };

/* The time is the least; a slow host gets as much as it needs to have seen each kind. */
static bool enough(struct vm *vm, unsigned int what, u64 smis)
{
	if (what & SMI)
		return smis > 5;
	return *guest_var(vm, &rounds) > 20 && *guest_var(vm, &entered) > 5 &&
	       *guest_var(vm, &invalid) > 5;
}

static void fuzz(unsigned int what)
{
	u64 s = env_number("NESTED_FUZZ_SEED", 1), end, kicks = 0, lives = 0, last = 0, stuck = 0,
	    smis = 0, born = 0, renewals = 0, in_vain = 0;
	struct itimerval tick = { .it_interval.tv_usec = 20000, .it_value.tv_usec = 20000 };
	struct kvm_interrupt irq = { .irq = 0x40 };
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t thread = 0;
	struct vcpu *vcpu;
	bool fresh = false;
	u8 *smram = NULL;
	struct vm *vm;

	need_svm();
	vm = vm_create(2);
	vcpu = vm->vcpu;
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_nmi;
	*guest_var(vm, &guest_handlers[0x40]) = on_nmi;
	*guest_var(vm, &under_tcg) = host_is_tcg();
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	if (what & SMI)
		smram = smm_prepare(vm, 1);
	pristine = malloc(SLOT0_SIZE);
	REQUIRE(pristine);
	/* With the page tables, which the first life brings */
	again(vcpu, ++s);
	memcpy(pristine, vm->mem, SLOT0_SIZE);
	if (what & FLIP)
		thread = start_flip(vcpu + 1);
	setitimer(ITIMER_REAL, &tick, NULL);
	end = seconds() + env_number("NESTED_FUZZ_SECONDS", 4);
	while (seconds() < end || !enough(vm, what, smis)) {
		int r = vcpu_run_raw(vcpu);
		u64 now = *guest_var(vm, &rounds);

		if (r == -EINTR) {
			kicks++;
			kvm_ioctl(vcpu->fd, KVM_NMI, NULL);
			if (kicks % 3 == 0)
				kvm_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
			if (smram)
				kvm_ioctl(vcpu->fd, KVM_SMI, NULL);
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
			tap_fail(__FILE__, __LINE__,
				 "seed %llu, round %llu: the CPU refused to enter",
				 (unsigned long long)s, (unsigned long long)now);
		} else if (smram && vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == PORT_SMM && vcpu->run->io.direction) {
			change_smram(smram, ++smis * 0x9e3779b97f4a7c15ull);
			continue;
		}
		/* It left for userspace, or goes round and round: another life */
		stuck = 0;
		lives++;
		if (now == born) {
			in_vain += fresh && r != -EINTR;
			renewals++;
			renew(vm);
		}
		fresh = now == born;
		born = now;
		again(vcpu, ++s);
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ }, NULL);
	tap_note("%llu rounds, %llu entered, %llu refused, %llu SMIs, %llu lives",
		 (unsigned long long)*guest_var(vm, &rounds),
		 (unsigned long long)*guest_var(vm, &entered),
		 (unsigned long long)*guest_var(vm, &invalid), (unsigned long long)smis,
		 (unsigned long long)lives);
	/* On new memory L1 gets somewhere before it leaves, unless it is spoilt again at once. */
	CHECK(in_vain <= renewals / 2 + 3);
	if (what & FLIP)
		stop_flip(vcpu + 1, thread);
	vm_destroy(vm);
	free(pristine);
	neighbour();
}

TEST_TIMEOUT(random_blocks, 100000)
{
	fuzz(0);
}

TEST_TIMEOUT(changed_meanwhile, 100000)
{
	fuzz(FLIP);
}

TEST_TIMEOUT(random_smm, 100000)
{
	fuzz(SMI);
}
