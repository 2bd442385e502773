// SPDX-License-Identifier: GPL-2.0
/*
 * What: two vCPUs run an L2 each on the same nested page tables. The first changes entries and
 * exchanges tables, flushes its own ASID and reads everything, twice; the second flushes all the
 * time, so that it is walking the tables whenever they change. NESTED_FLUSH_TURNS (3000). Then once
 * so that the second is surely in the middle of a walk: the table that it has to read is a page of
 * the host's that is not there.
 * Conditions: guests are offered SVM with nested paging; the latter case: userfaultfd.
 * Expected: the first finds what it has put there: a walk of the other one from before the flush
 * brings nothing back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static void run_l2(u64 id, void (*fn)(void), u32 tlb_ctl)
{
	struct svm_vmcb *b = &block[id];

	b->rip = (u64)fn;
	b->rsp = (u64)l2_stack[id] + sizeof(l2_stack[id]) - 8;
	b->tlb_ctl = tlb_ctl;
	asm volatile("push %%rbp; vmrun %%rax; pop %%rbp"
		     :
		     : "a"(b)
		     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "memory", "cc");
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
	guest_set_flag(&ready);
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
				run_l2(0, l2_main, i ? 0 : 3);
			GUEST_ASSERT_EQ(seen[0][i % ENTRIES], now[t][i % ENTRIES]);
		}
	}
	stop = 1;
}

static void svm_on(u64 id)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, host_area[id]);
}

static void guest_main(void)
{
	u64 id = this_cpu()->id, i;

	if (!id)
		prepare();
	guest_wait_flag(&ready);
	svm_on(id);
	if (!id)
		first();
	while (!stop) {
		/* What has changed is dropped by the flush, and faults. */
		for (i = 0; i < TABLES * ENTRIES; i++)
			__atomic_fetch_and((u64 *)table[i / ENTRIES] + i % ENTRIES, ~PTE_A,
					   __ATOMIC_RELAXED);
		run_l2(1, l2_main, 1);
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

/* ---- a walk that a flush is sure to meet ---- */

/* What L2 reads next */
static volatile u64 entry;

static void l2_reads_one(void)
{
	seen[this_cpu()->id][0] = *(volatile u64 *)(NPT_PLAY + entry * 4096 + 8);
	vmmcall();
}

static void expect_one(u64 e, u64 what)
{
	entry = e;
	run_l2(0, l2_reads_one, 0);
	GUEST_ASSERT_EQ(seen[0][0], what);
}

/* Table 0 has 0, 1, ...; table 1 has 10, 11, ... */
static void guest_first(void)
{
	u64 i;

	prepare();
	for (i = 0; i < ENTRIES; i++)
		put(1, i, 10 + i);
	svm_on(0);
	/*
	 * A is set in all that leads to table 0: the second's walk would see by that what has
	 * changed.
	 */
	expect_one(1, 1);
	guest_sync(npt_at(&npt, NPT_PLAY, 1));
	/* The second is reading table 0. */
	npt_set(&npt, NPT_PLAY, 2, table[1] | NPT_RWX);
	entry = 2;
	run_l2(0, l2_reads_one, 3);
	GUEST_ASSERT_EQ(seen[0][0], 12);
	guest_sync(1);
	/* The second has used what it found there, which may not be had from here. */
	expect_one(0, 10);
	expect_one(1, 11);
	guest_done();
}

static void guest_second(void)
{
	svm_on(1);
	run_l2(1, l2_reads_one, 0);
	svm_stgi();
	guest_done();
}

/* The page of the guest's is not there until it is given back. */
static int take_away(u8 *page, u8 *copy)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range = { (u64)page, 4096 } };
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		tap_skip("no userfaultfd");
	memcpy(copy, page, 4096);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	REQUIRE(!madvise(page, 4096, MADV_DONTNEED));
	return uffd;
}

TEST(walk_from_before_a_flush)
{
	u8 copy[4096], *page;
	pthread_t second;
	struct vm *vm;
	int uffd;

	need_npt();
	vm = vm_create(2);
	vcpu_set_long(vm->vcpu, guest_first, 0);
	vcpu_set_long(&vm->vcpu[1], guest_second, 0);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	page = gpa_to_host(vm, vcpu_sync_value(vm->vcpu) & ~0xfffull);
	uffd = take_away(page, copy);
	*guest_var(vm, &entry) = 0;
	REQUIRE(!pthread_create(&second, NULL, run_second, vm));
	REQUIRE_EQ(poll(&(struct pollfd) { .fd = uffd, .events = POLLIN }, 1, 30000), 1);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_COPY, &(struct uffdio_copy) { .dst = (u64)page, .src = (u64)copy, .len = 4096 }), 0);
	pthread_join(second, NULL);
	RUN_UNTIL_DONE(vm->vcpu);
	close(uffd);
	vm_destroy(vm);
}
