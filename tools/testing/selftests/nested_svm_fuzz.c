// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest hypervisor that gives its processor nonsense: random control blocks, permission
 * maps and nested page tables (which contain themselves, are written by L2, and are changed by a
 * second vCPU while they are used), with TLB control of all kinds; meanwhile the host drops pages,
 * and switches dirty logging.
 * Conditions: guests are offered SVM with nested paging. FUZZ_SECONDS=n for how long (6),
 * FUZZ_SEED=n to begin elsewhere.
 * Expected: nothing but this VM notices: the host's log stays clean, runs end when they are asked
 * to, and a good guest still works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "emulator.h"
#include "npt.h"
#include "state.h"

#define TABLES	24
#define DATA	40

/* Where random entries may point: L1's program is not among them, so that it lasts. */
static u8 sandbox[TABLES + DATA][4096] __attribute__((aligned(4096)));
static struct svm_vmcb second, template;
static u8 second_stack[8192] __attribute__((aligned(16))),
	second_hsave[4096] __attribute__((aligned(4096)));
static volatile u64 seed, ready;
/* CR4.PAE stays: an exit without it and with EFER.LME set is the end of the host's CPU there. */
static volatile bool under_tcg;
static struct npt npt;

GUEST_INLINE u64 rnd(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

#define ONE_IN(s, n) (rnd(s) % (n) == 0)

static u64 random_entry(u64 *s)
{
	u64 entry = (u64)sandbox[rnd(s) % (ONE_IN(s, 2) ? TABLES : TABLES + DATA)] | NPT_RWX;

	if (ONE_IN(s, 8))
		entry = (rnd(s) & 0xfffffff000ull) | NPT_RWX;	/* mostly no memory */
	if (ONE_IN(s, 4))
		entry |= rnd(s) & 0xff8;
	if (ONE_IN(s, 6))
		entry &= ~(1ull << rnd(s) % 3);
	if (ONE_IN(s, 8))
		entry ^= 1ull << rnd(s) % 64;
	/* A large page must not lead to the program. */
	if ((entry & PTE_PS) && !((entry >> 12) & 0xfffffff000ull >> 12 & ~0xfffull))
		entry &= ~PTE_PS;
	return entry;
}

static void change_tables(u64 *s, unsigned int n)
{
	while (n--)
		((volatile u64 *)sandbox[rnd(s) % TABLES])[rnd(s) % 512] = random_entry(s);
}

static void mutate(struct svm_vmcb *b, u64 *s)
{
	static const u64 bits[] = { CR0_PE, CR0_WP, CR0_PG, CR0_CD, CR0_NW, CR4_PSE, EFER_LME, EFER_LMA, EFER_NX, EFER_SVME, CR4_PAE };
	u64 at;

	switch (rnd(s) % 14) {
	case 0:	b->tlb_ctl = rnd(s); break;
	case 1:	b->asid = rnd(s) % 20; break;
	case 2:	b->ncr3 = (u64)sandbox[rnd(s) % TABLES] | (rnd(s) & 0xfff); break;
	case 3:	b->ncr3 = rnd(s); break;
	case 4:	b->nested_ctl ^= 1; break;
	case 5:	b->int_ctl = rnd(s); b->int_vector = rnd(s); break;
	case 6:	b->event_inj = rnd(s) | INJ_VALID; b->event_error = rnd(s); break;
	case 7:	b->intercept[rnd(s) % 6] ^= 1u << rnd(s) % 32; break;
	case 8:	b->cr0 ^= bits[rnd(s) % 11]; break;
	case 9:	b->cr4 ^= bits[rnd(s) % (under_tcg ? 10 : 11)]; break;
	case 10: b->efer ^= bits[rnd(s) % 11]; break;
	case 11: b->cr3 = (rnd(s) & 1 ? NPT_PLAY : 0) + (u64)sandbox[rnd(s) % TABLES]; break;
	case 12: b->iopm = b->msrpm = rnd(s) >> rnd(s) % 64; break;
	default:
		at = rnd(s) % 4096;
		if (!under_tcg || at != offsetof(struct svm_vmcb, cr4))
			((u8 *)b)[at] = rnd(s);
	}
}

/* L2: accesses all over the play gigabyte, where the random tables are */
static void l2_wild(void)
{
	u64 s = rdtsc() | 1, i;

	for (i = 0; i < 20; i++) {
		volatile u64 *p = (u64 *)(NPT_PLAY + (rnd(&s) & 0x3ffffff8));

		if (ONE_IN(&s, 3))
			*p = random_entry(&s);
		else if (ONE_IN(&s, 8))
			((void (*)(void))p)();
		else
			(void)*p;
	}
	vmmcall();
}

static void wild_run(struct svm_vmcb *b, u64 *s, u64 stack, u64 (*run)(struct svm_vmcb *))
{
	unsigned int n = rnd(s) % 4;

	*b = template;
	b->rip = (u64)l2_wild;
	b->rsp = stack;
	b->tlb_ctl = ONE_IN(s, 3);
	b->asid = 1 + rnd(s) % 3;
	while (n--)
		mutate(b, s);
	run(b);
}

/* For the second vCPU: svm_vmrun()'s registers are the first one's. */
static u64 plain_vmrun(struct svm_vmcb *b)
{
	register u64 rax asm("rax") = (u64)b;

	asm volatile("push %%rbp; push %%rbx; vmrun %%rax; pop %%rbx; pop %%rbp"
		     : "+r"(rax)
		     :
		     : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
		       "r15", "memory", "cc");
	return b->exit_code;
}

static void guest_first(void)
{
	u64 s = seed, i;

	npt_guest_init(&npt, NPT_4LEVEL);
	change_tables(&s, 4096);
	/* The play gigabyte: one 2M piece in two has a random table. */
	for (i = 0; i < 512; i += 2)
		npt_set(&npt, NPT_PLAY + (i << 21), 2, random_entry(&s));
	template = svm_vmcb;
	guest_set_flag(&ready);
	for (;;) {
		change_tables(&s, rnd(&s) % 16);
		wild_run(&svm_vmcb, &s, (u64)svm_l2_stack + sizeof(svm_l2_stack) - 8, svm_vmrun);
	}
}

static void guest_second(void)
{
	u64 s = seed * 3 + 1;

	guest_wait_flag(&ready);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)second_hsave);
	for (;;) {
		change_tables(&s, 8);
		if (ONE_IN(&s, 2))
			mutate(&svm_vmcb, &s);
		if (ONE_IN(&s, 4))
			svm_msrpm[rnd(&s) % sizeof(svm_msrpm)] = rnd(&s);
		if (ONE_IN(&s, 4))
			svm_iopm[rnd(&s) % sizeof(svm_iopm)] = rnd(&s);
		wild_run(&second, &s, (u64)second_stack + sizeof(second_stack) - 8, plain_vmrun);
	}
}

/* ---- the host ---- */

static volatile bool stop;
static unsigned long runs, ended;

static void wake(int sig)
{
	(void)sig;
}

static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;
	struct kvm_run *run = vcpu->run;

	while (!stop) {
		int r = vcpu_run_raw(vcpu);

		__atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		/* What a wild guest may do to itself. Errors of the run are its end, too. */
		if (r || (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO)) {
			__atomic_add_fetch(&ended, 1, __ATOMIC_RELAXED);
			CHECK(!r || r == -EFAULT);
			break;
		}
	}
	return NULL;
}

static void disturb(struct vm *vm, unsigned int i)
{
	static u8 bitmap[SLOT0_SIZE / 4096 / 8];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };

	REQUIRE_EQ(vm_set_slot(vm, 0, i & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0, SLOT0_SIZE, vm->mem), 0);
	if (i & 1)
		xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	madvise(guest_var(vm, &sandbox[rand() % (TABLES + DATA)]), 4096, MADV_DONTNEED);
	usleep(5000);
}

static void round_of(u64 with_seed)
{
	struct vm *vm = vm_create(2);
	pthread_t thread[2];
	unsigned int i, n;

	stop = false;
	*guest_var(vm, &seed) = with_seed;
	*guest_var(vm, &under_tcg) = host_is_tcg();
	vcpu_set_long(&vm->vcpu[0], guest_first, 0);
	vcpu_set_long(&vm->vcpu[1], guest_second, 0);
	for (i = 0; i < 2; i++)
		REQUIRE(!pthread_create(&thread[i], NULL, run_vcpu, &vm->vcpu[i]));
	for (n = 0; n < 100 && ended < 2; n++)
		disturb(vm, n);
	stop = true;
	for (i = 0; i < 2; i++) {
		struct timespec ts = { .tv_nsec = 1 };

		do {
			pthread_kill(thread[i], SIGUSR1);
			clock_gettime(CLOCK_REALTIME, &ts);
			ts.tv_sec++;
		} while (pthread_timedjoin_np(thread[i], NULL, &ts));
	}
	ended = 0;
	vm_destroy(vm);
}

static void guest_good(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	GUEST_ASSERT_DONE(NPT_READ, GPA_HEAP);
	guest_done();
}

TEST_TIMEOUT(wild_hypervisor, 100000)
{
	u64 end = time(NULL) + env_number("FUZZ_SECONDS", 6),
	    s = env_number("FUZZ_SEED", 0x9e3779b97f4a7c15ull);
	struct sigaction sa = { .sa_handler = wake };
	unsigned int rounds = 0;

	need_npt();
	sigaction(SIGUSR1, &sa, NULL);
	while ((u64)time(NULL) < end) {
		round_of(s);
		s = s * 6364136223846793005ull + 1;
		rounds++;
	}
	tap_note("%u rounds, %lu runs, next FUZZ_SEED=%#llx", rounds, runs, (unsigned long long)s);
	npt_run(guest_good);
}
