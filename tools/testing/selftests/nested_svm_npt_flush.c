// SPDX-License-Identifier: GPL-2.0
/*
 * What: two vCPUs run an L2 each on the same nested page tables. The first changes entries and exchanges tables, flushes its own ASID and reads everything, twice;
 * the second flushes all the time, so that it is walking the tables whenever they change. NESTED_FLUSH_TURNS (3000).
 * Conditions: guests are offered SVM with nested paging.
 * Expected: the first finds what it has put there: a walk of the other one from before the flush brings nothing back.
 */
#include <pthread.h>

#include "npt.h"
#include "state.h"

#define TABLES	2
#define ENTRIES	12
#define PAGES	32

static struct npt npt;
static struct svm_vmcb block[2];
static u8 l2_stack[2][4096] __attribute__((aligned(16)));
static u64 host_area[2], table[TABLES], page[PAGES];
static u8 now[TABLES][ENTRIES];
static volatile u64 seen[2][ENTRIES], ready, stop, turns;

static void l2_main(void)
{
	u64 id = this_cpu()->id, i;

	for (i = 0; i < ENTRIES; i++)
		seen[id][i] = *(volatile u64 *)(NPT_PLAY + i * 4096 + 8);
	vmmcall();
}

static void run_l2(u64 id, u32 tlb_ctl)
{
	struct svm_vmcb *b = &block[id];

	b->rip = (u64)l2_main;
	b->rsp = (u64)l2_stack[id] + sizeof(l2_stack[id]) - 8;
	b->tlb_ctl = tlb_ctl;
	asm volatile("push %%rbp; vmrun %%rax; pop %%rbp" : : "a"(b)
		     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	GUEST_ASSERT_EQ(b->exit_code, SVM_EXIT_VMMCALL);
}

static void put(u64 t, u64 e, u8 what)
{
	now[t][e] = what;
	((volatile u64 *)table[t])[e] = page[what] | NPT_RWX;
}

static void prepare(void)
{
	u64 i, t;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (i = 0; i < PAGES; i++)
		page[i] = npt_data_page(i);
	for (t = 0; t < TABLES; t++) {
		table[t] = npt_page();
		for (i = 0; i < ENTRIES; i++)
			put(t, i, i);
	}
	npt_set(&npt, NPT_PLAY, 2, table[0] | NPT_RWX);
	for (i = 0; i < 2; i++) {
		host_area[i] = npt_page();
		block[i] = svm_vmcb;
	}
	ready = 1;
}

static void first(void)
{
	u64 t = 0, i, n;

	for (n = 0; n < turns; n++) {
		put(t, n % ENTRIES, n * 7 % PAGES);
		/* Now and then the other table, part of which has changed meanwhile */
		if (n % 8 == 7) {
			t ^= 1;
			put(t, n / 8 % ENTRIES, n * 5 % PAGES);
			npt_set(&npt, NPT_PLAY, 2, table[t] | NPT_RWX);
		}
		for (i = 0; i < 2 * ENTRIES; i++) {
			if (i % ENTRIES == 0)
				run_l2(0, i ? 0 : 3);
			GUEST_ASSERT_EQ(seen[0][i % ENTRIES], now[t][i % ENTRIES]);
		}
	}
	stop = 1;
}

static void guest_main(void)
{
	u64 id = this_cpu()->id, i;

	if (!id)
		prepare();
	while (!ready)
		guest_pause();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, host_area[id]);
	if (!id)
		first();
	while (!stop) {
		/* What has changed is dropped by the flush, and faults. */
		for (i = 0; i < TABLES * ENTRIES; i++)
			__atomic_fetch_and((u64 *)table[i / ENTRIES] + i % ENTRIES, ~PTE_A, __ATOMIC_RELAXED);
		run_l2(1, 1);
		for (i = 0; i < ENTRIES; i++)
			GUEST_ASSERT(seen[1][i] < PAGES);
	}
	svm_stgi();
	guest_done();
}

static void *run_second(void *arg)
{
	struct vm *vm = arg;

	if (vcpu_run(&vm->vcpu[1]) != RUN_DONE) {
		tap_fail(__FILE__, __LINE__, "the second vCPU ended otherwise");
		*guest_var(vm, &turns) = 0;
	}
	return NULL;
}

TEST(walks_and_flushes)
{
	pthread_t second;
	struct vm *vm;

	need_npt();
	vm = vm_create(2);
	*guest_var(vm, &turns) = env_number("NESTED_FLUSH_TURNS", 3000);
	vcpu_set_long(vm->vcpu, guest_main, 0);
	vcpu_set_long(&vm->vcpu[1], guest_main, 0);
	REQUIRE(!pthread_create(&second, NULL, run_second, vm));
	RUN_UNTIL_DONE(vm->vcpu);
	pthread_join(second, NULL);
	vm_destroy(vm);
}
