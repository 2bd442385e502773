// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1 changes its nested page tables between two runs of L2, with and without a flush; several
 * sets of tables and ASIDs; what runs of L2 cost if nothing was flushed; few pages for it all.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: what was taken away is gone after a flush, what was given is there without; nothing is
 * built anew without a flush.
 */
#include <errno.h>

#include "npt.h"
#include "stats.h"

static struct npt npt, other;

/* What only ever becomes more needs no flush: not present, read-only, NX. */
static void guest_more(void)
{
	u64 page;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_data_page(7);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY + 8, PF_USER | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, page | PTE_P | PTE_U | PTE_NX);
	GUEST_ASSERT_READ(NPT_PLAY + 8, 7);
	GUEST_ASSERT_NPF(NPT_FETCH, NPT_PLAY, PF_PROT | PF_USER | PF_FETCH | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, page | PTE_P | PTE_U);
	GUEST_ASSERT_DONE(NPT_FETCH, NPT_PLAY);
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + 8, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	npt_value = 8;
	GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + 8);
	GUEST_ASSERT_EQ(((volatile u64 *)page)[1], 8);
	/* Also above the leaf */
	npt_set(&npt, NPT_PLAY + (2 << 20), 1, page | NPT_RWX);
	npt_set(&npt, NPT_PLAY + (2 << 20), 2, npt_get(&npt, NPT_PLAY + (2 << 20), 2) & ~PTE_W);
	GUEST_ASSERT_READ(NPT_PLAY + (2 << 20) + 8, 8);
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + (2 << 20) + 8, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
	npt_set(&npt, NPT_PLAY + (2 << 20), 2, npt_get(&npt, NPT_PLAY + (2 << 20), 2) | PTE_W);
	GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + (2 << 20) + 8);
	guest_done();
}

TEST(more_without_flush)
{
	npt_run(guest_more);
}

/* The ways to flush: all, another ASID, an address in an ASID */
enum flush { FLUSH_ALL, FLUSH_NEW_ASID, FLUSH_INVLPGA, FLUSH_WAYS };

static void flush(enum flush how)
{
	svm_vmcb.tlb_ctl = how == FLUSH_ALL;
	if (how == FLUSH_NEW_ASID)
		svm_vmcb.asid = svm_vmcb.asid % 15 + 1;
	if (how == FLUSH_INVLPGA)
		asm volatile("invlpga %%rax, %%ecx" : : "a"(NPT_PLAY), "c"(svm_vmcb.asid) : "memory");
}

static void guest_less(void)
{
	u64 a, b, table;
	enum flush how;

	npt_guest_init(&npt, NPT_4LEVEL);
	a = npt_data_page(1);
	b = npt_data_page(2);
	for (how = 0; how < FLUSH_WAYS; how++) {
		npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX);
		flush(how);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 1);
		/* Another frame */
		npt_set(&npt, NPT_PLAY, 1, b | NPT_RWX);
		flush(how);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 2);
		/* Read-only */
		npt_value = 2;
		GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + 8);
		npt_set(&npt, NPT_PLAY, 1, b | PTE_P | PTE_U);
		flush(how);
		GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + 8, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
		/* Nothing */
		GUEST_ASSERT_READ(NPT_PLAY + 8, 2);
		npt_set(&npt, NPT_PLAY, 1, 0);
		flush(how);
		GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY + 8, PF_USER | NPF_FINAL);
		/* Another table, and a large page in its place, and back */
		npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 1);
		table = npt_get(&npt, NPT_PLAY, 2);
		npt_set(&npt, NPT_PLAY, 2, 0);
		npt_set(&npt, NPT_PLAY, 1, b | NPT_RWX);
		flush(how);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 2);
		npt_set(&npt, NPT_PLAY, 2, (a & ~0x1fffffull) | NPT_RWX | PTE_PS);
		flush(how);
		GUEST_ASSERT_READ(NPT_PLAY + (b & 0x1fffff) + 8, 2);
		npt_set(&npt, NPT_PLAY, 2, table);
		flush(how);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 1);
	}
	guest_done();
}

TEST(less_with_flush)
{
	npt_run(guest_less);
}

/*
 * Two L2s by turns, each with its tables and its ASID: both stay as they are, and a flush of one is
 * of one.
 */
static void guest_two(void)
{
	u64 a, b, i;

	npt_guest_init(&other, NPT_4LEVEL);
	npt_guest_init(&npt, NPT_4LEVEL);
	a = npt_data_page(1);
	b = npt_data_page(2);
	npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX);
	npt_set(&other, NPT_PLAY, 1, b | NPT_RWX);
	for (i = 0; i < 20; i++) {
		svm_vmcb.ncr3 = i & 1 ? other.root : npt.root;
		svm_vmcb.asid = 1 + (i & 1);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 1 + (i & 1));
	}
	/* One ASID for both, flushed when it changes hands */
	svm_vmcb.tlb_ctl = 1;
	for (i = 0; i < 20; i++) {
		svm_vmcb.ncr3 = i & 1 ? other.root : npt.root;
		GUEST_ASSERT_READ(NPT_PLAY + 8, 1 + (i & 1));
	}
	/* L2 without nested paging between: its physical addresses are L1's. */
	svm_vmcb.tlb_ctl = 0;
	for (i = 0; i < 20; i++) {
		svm_vmcb.nested_ctl = i & 1;
		svm_vmcb.asid = 1 + (i & 1);
		svm_vmcb.ncr3 = other.root;
		GUEST_ASSERT_READ(i & 1 ? NPT_PLAY + 8 : a + 8, 1 + (i & 1));
	}
	guest_done();
}

TEST(two_l2)
{
	npt_run(guest_two);
}

/*
 * More sets of tables than are remembered, and as they are reused for something else, tables that
 * were others' before
 */
static void guest_many(void)
{
	u64 roots[16], pages[16], i, round, leaf;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (i = 0; i < 16; i++) {
		npt_init(&other, NPT_4LEVEL);
		roots[i] = other.root;
		pages[i] = npt_data_page(100 + i);
		npt_set(&other, NPT_PLAY, 1, pages[i] | NPT_RWX);
	}
	for (round = 0; round < 4; round++)
		for (i = 0; i < 16; i++) {
			svm_vmcb.ncr3 = roots[i];
			svm_vmcb.asid = 1 + (i + round) % 15;
			svm_vmcb.tlb_ctl = 1;
			GUEST_ASSERT_READ(NPT_PLAY + 8, 100 + i);
		}
	/*
	 * The level 1 table of one as the root of another, which maps the program through its own
	 * entries of level 4
	 */
	other.root = roots[0];
	leaf = npt_get(&other, NPT_PLAY, 2) & PTE_ADDR;
	*(volatile u64 *)leaf = *(volatile u64 *)roots[1];
	svm_vmcb.ncr3 = leaf;
	GUEST_ASSERT_READ(NPT_PLAY + 8, 101);
	guest_done();
}

TEST(many_roots)
{
	npt_run(guest_many);
}

#define PAGES	64

static void touch_all(u64 flush_each)
{
	u64 i;

	for (i = 0; i < PAGES; i++) {
		svm_vmcb.tlb_ctl = flush_each;
		GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + (i << 12));
	}
}

static void map_and_touch_all(void)
{
	u64 i;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (i = 0; i < PAGES; i++)
		npt_set(&npt, NPT_PLAY + (i << 12), 1, npt_data_page(i) | NPT_RWX);
	touch_all(0);
	guest_sync(1);
}

static void guest_cost(void)
{
	u64 i;

	map_and_touch_all();
	for (i = 0; i < 10; i++)
		touch_all(0);
	guest_sync(2);
	/* One flush, then all pages: the tables are looked at again, not the pages. */
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
	touch_all(0);
	guest_sync(3);
	/* A flush in each run: what has not changed is compared at the flush itself. */
	touch_all(1);
	guest_sync(4);
	guest_done();
}

/*
 * The same with as few pages of L0's as there may be, so that tables are reclaimed all the time;
 * and with less of them than before.
 */
TEST(few_pages)
{
	struct vm *vm;

	need_npt();
	NEED_CAP(KVM_CAP_MMU_SHADOW_CACHE_CONTROL);
	vm = vm_create(1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)63), -EINVAL);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)64), 0);
	vcpu_set_long(vm->vcpu, guest_many, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);

	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_cost, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)64), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)~0ul), 0);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	RUN_UNTIL_SYNC(vm->vcpu, 4);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* A table that is its own child, at every level */
static void guest_recursive(void)
{
	u64 root, i;

	npt_guest_init(&npt, NPT_4LEVEL);
	root = npt.root;
	/*
	 * The program is reached as before; 511 is the root itself, at all levels down to the leaf.
	 */
	((volatile u64 *)root)[511] = root | NPT_RWX;
	GUEST_ASSERT_EQ(npt_access(NPT_READ, 0xc0000000ull), EXIT_NPF);
	svm_vmcb.tlb_ctl = 1;
	for (i = 0; i < 3; i++) {
		npt_set(&npt, i << 30, 3, (npt_get(&npt, i << 30, 3) & PTE_ADDR) | NPT_RWX);
		/*
		 * Level 3's last entry: the root as a level 2 table, whose first entry has no PS: a
		 * level 1 table's place
		 */
		npt_set(&npt, 0xc0000000ull, 3, root | NPT_RWX);
		GUEST_ASSERT_DONE(NPT_READ, 0xc0000000ull);
	}
	/* Seen as a 4K page it is the level 3 table's own entry. */
	GUEST_ASSERT_EQ(npt_value & PTE_ADDR, *(volatile u64 *)(*(volatile u64 *)(*(volatile u64 *)root & PTE_ADDR) & PTE_ADDR) & PTE_ADDR);
	guest_done();
}

TEST(recursive_tables)
{
	npt_run(guest_recursive);
}

/* ---- cost ---- */

TEST(nothing_is_built_without_flush)
{
	u64 before, now;
	struct vm *vm;

	need_npt();
	STRATA_ONLY("counts faults");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_cost, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	before = stat_of(vm->vcpu->fd, "pf_taken");
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	now = stat_of(vm->vcpu->fd, "pf_taken");
	CHECK_EQ(now - before, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	before = now;
	now = stat_of(vm->vcpu->fd, "pf_taken");
	tap_note("%llu faults after a flush", (unsigned long long)(now - before));
	/* Tables on the way to the play pages and to the program */
	CHECK(now - before <= 12);
	RUN_UNTIL_SYNC(vm->vcpu, 4);
	before = now;
	now = stat_of(vm->vcpu->fd, "pf_taken");
	tap_note("%llu faults in %u runs with a flush", (unsigned long long)(now - before), PAGES);
	CHECK_EQ(now - before, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* Pages are read before they are written: L1's D bits cost a fault each, and no flush. */
static void guest_dirties(void)
{
	u64 i;

	map_and_touch_all();
	for (i = 0; i < PAGES; i++)
		GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + (i << 12) + 16);
	guest_sync(2);
	for (i = 0; i < PAGES; i++)
		GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY + (i << 12), 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	guest_done();
}

TEST(more_rights_flush_nothing)
{
	u64 faults, flushes;
	struct vm *vm;

	need_npt();
	STRATA_ONLY("counts flushes");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_dirties, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	faults = stat_of(vm->vcpu->fd, "pf_taken");
	flushes = stat_of(vm->vcpu->fd, "tlb_flush");
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	CHECK_EQ(stat_of(vm->vcpu->fd, "pf_taken") - faults, PAGES);
	CHECK_EQ(stat_of(vm->vcpu->fd, "tlb_flush") - flushes, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
