// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1 changes and moves the tables and large pages of several L2s at random, flushes now and
 * then one of their ASIDs or all, and has them read, on two vCPUs by turns; the host takes memory
 * away meanwhile. A model says what a CPU may have in its TLB. NESTED_MODEL_SEED (1),
 * NESTED_MODEL_STEPS (10000).
 * Conditions: guests are offered SVM with nested paging.
 * Expected: L2 reads what its tables say, or what they said on a way that was there at once or bit
 * by bit since the last flush; it faults if, and only if, there is nothing now.
 */
#include <sys/mman.h>

#include "npt.h"
#include "state.h"

#define CPUS	2
#define L2S	3	/* the same on both */
#define WINDOWS	2	/* gigabytes of each L2 */
#define DIRS	4	/* of 2M each, shared by all L2s */
#define SLOTS	12	/* of a directory, for tables */
#define TABLES	16
#define LARGE	2	/* the last ones of them are pages of 2M in fact */
#define ENTRIES	5
#define PAGES	8

#define LARGE_GPA	0x10000000ull
#define LARGE_SIZE	(2ull << 20)

/*
 * What a window of an L2's led to since the last flush of it on a CPU: which directories; which
 * tables in each slot of theirs; which pages in each entry of those
 */
struct way {
	bool dir;
	bool table[SLOTS][TABLES];
	u8 pages[SLOTS][TABLES][ENTRIES];
};

static struct way ways[CPUS][L2S][WINDOWS][DIRS];
static struct npt npt[L2S];
/* Entries that a slot leads to: of tables, or pages of the slot's size */
static u64 dir[DIRS], table[TABLES], page[PAGES];
/* What is there now: an index plus one */
static u8 window_now[L2S][WINDOWS], slot_now[DIRS][SLOTS], entry_now[TABLES][ENTRIES];
static volatile u64 seed, steps;

static u64 pick(u64 n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

/* What shall be there: often nothing */
static u8 pick_now(u64 n)
{
	u64 now = pick(n + n / 4 + 1);

	return now > n ? 0 : now;
}

static u64 address(u64 w, u64 s, u64 e)
{
	return NPT_PLAY * (1 + w) + (s << 21) + (e * 37 << 12);
}

/* What page @e of a large one has */
static u64 large_value(u64 i, u64 e)
{
	return (e + i * 3) % PAGES;
}

static u8 page_bit(u8 now)
{
	return now ? 1 << (now - 1) : 0;
}

static void reach_table(struct way *way, u64 s, u8 now)
{
	u64 t = now - 1, e;

	if (!now || way->table[s][t])
		return;
	way->table[s][t] = true;
	for (e = 0; e < ENTRIES; e++)
		way->pages[s][t][e] = page_bit(entry_now[t][e]);
}

static void reach_dir(struct way *to, u8 now)
{
	struct way *way = &to[now - 1];
	u64 s, t;

	if (!now || way->dir)
		return;
	way->dir = true;
	for (s = 0; s < SLOTS; s++) {
		for (t = 0; t < TABLES; t++)
			way->table[s][t] = false;
		reach_table(way, s, slot_now[now - 1][s]);
	}
}

static void model_flush(u64 cpu, u64 l2)
{
	u64 w, d;

	for (w = 0; w < WINDOWS; w++) {
		for (d = 0; d < DIRS; d++)
			ways[cpu][l2][w][d].dir = false;
		reach_dir(ways[cpu][l2][w], window_now[l2][w]);
	}
}

static void change_window(void)
{
	u64 l2 = pick(L2S), w = pick(WINDOWS), cpu;
	u8 now = pick_now(DIRS);

	window_now[l2][w] = now;
	npt_set(&npt[l2], address(w, 0, 0), 3, now ? dir[now - 1] | NPT_RWX : 0);
	for (cpu = 0; cpu < CPUS; cpu++)
		reach_dir(ways[cpu][l2][w], now);
}

/* Each place where a directory may be */
#define FOR_EACH_WAY(way, d)                                                                  \
	for (u64 c_ = 0; c_ < CPUS; c_++)                                                     \
		for (u64 l_ = 0; l_ < L2S; l_++)                                              \
			for (u64 w_ = 0; w_ < WINDOWS; w_++)                                  \
				for (struct way *way = &ways[c_][l_][w_][d]; way && way->dir; \
				     way = NULL)

static void change_slot(void)
{
	u64 d = pick(DIRS), s = pick(SLOTS);
	u8 now = pick_now(TABLES);

	slot_now[d][s] = now;
	((volatile u64 *)dir[d])[s] = !now ? 0 : table[now - 1] | NPT_RWX | (now > TABLES - LARGE ? PTE_PS : 0);
	FOR_EACH_WAY(way, d)
		reach_table(way, s, now);
}

static void change_entry(void)
{
	u64 t = pick(TABLES - LARGE), e = pick(ENTRIES), d, s;
	u8 now = pick_now(PAGES);

	entry_now[t][e] = now;
	((volatile u64 *)table[t])[e * 37] = now ? page[now - 1] | NPT_RWX : 0;
	for (d = 0; d < DIRS; d++)
		FOR_EACH_WAY(way, d)
			for (s = 0; s < SLOTS; s++)
				if (way->table[s][t])
					way->pages[s][t][e] |= page_bit(now);
}

static void change(void)
{
	switch (pick(8)) {
	case 0:
		change_window();
		break;
	case 1 ... 3:
		change_slot();
		break;
	default:
		change_entry();
		break;
	}
}

static void flush(u64 cpu, u64 l2)
{
	u64 i;

	switch (pick(200)) {
	case 0:
		svm_vmcb.tlb_ctl = 3;
		model_flush(cpu, l2);
		break;
	case 1:
		svm_vmcb.tlb_ctl = 1;
		for (i = 0; i < L2S; i++)
			model_flush(cpu, i);
		break;
	case 2:
		asm volatile("invlpga %%rax, %%ecx" : : "a"(address(pick(WINDOWS), pick(SLOTS), pick(ENTRIES))), "c"(1 + pick(L2S)) : "memory");
		svm_vmcb.tlb_ctl = 0;
		break;
	default:
		svm_vmcb.tlb_ctl = 0;
		break;
	}
}

static bool is_there(u64 l2, u64 w, u64 s, u64 e)
{
	u8 d = window_now[l2][w], t = d ? slot_now[d - 1][s] : 0;

	return t && entry_now[t - 1][e];
}

static u8 may_be(u64 cpu, u64 l2, u64 w, u64 s, u64 e)
{
	u64 d, t;
	u8 may = 0;

	for (d = 0; d < DIRS; d++) {
		const struct way *way = &ways[cpu][l2][w][d];

		for (t = 0; way->dir && t < TABLES; t++)
			if (way->table[s][t])
				may |= way->pages[s][t][e];
	}
	return may;
}

static void access_page(void)
{
	u64 cpu = this_cpu()->id, l2 = pick(L2S), w = pick(WINDOWS), s = pick(SLOTS),
	    e = pick(ENTRIES), code;

	flush(cpu, l2);
	svm_vmcb.ncr3 = npt[l2].root;
	svm_vmcb.asid = 1 + l2;
	code = npt_access(NPT_READ, address(w, s, e) + 8);
	if (code == EXIT_NPF) {
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, address(w, s, e) + 8);
		GUEST_ASSERT_EQ(is_there(l2, w, s, e), 0);
		return;
	}
	GUEST_ASSERT_EQ(code, SVM_EXIT_VMMCALL);
	GUEST_ASSERT(npt_value < PAGES);
	GUEST_ASSERT_EQ(may_be(cpu, l2, w, s, e) & 1 << npt_value, 1 << npt_value);
}

/* The second vCPU, when it is its turn */
static void guest_second(void)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, npt_page());
	for (;;) {
		access_page();
		guest_sync(0);
	}
}

static void make_pages(void)
{
	u64 i, e;

	for (i = 1; i < L2S; i++)
		npt_init(&npt[i], NPT_4LEVEL);
	npt_guest_init(&npt[0], NPT_4LEVEL);
	for (i = 0; i < DIRS; i++)
		dir[i] = npt_page();
	for (i = 0; i < TABLES - LARGE; i++)
		table[i] = npt_page();
	for (i = 0; i < PAGES; i++)
		page[i] = npt_data_page(i);
	for (i = 0; i < LARGE; i++) {
		table[TABLES - LARGE + i] = LARGE_GPA + i * LARGE_SIZE;
		for (e = 0; e < ENTRIES; e++)
			entry_now[TABLES - LARGE + i][e] = 1 + large_value(i, e);
	}
}

static void guest_main(void)
{
	make_pages();
	while (steps--) {
		switch (pick(8)) {
		case 0 ... 1:
			change();
			break;
		case 2 ... 4:
			guest_sync(1);
			break;
		default:
			access_page();
			break;
		}
	}
	guest_done();
}

static u64 *large_pages(struct vm *vm)
{
	u64 *mem = host_alloc(LARGE * LARGE_SIZE, LARGE_SIZE), i, e;

	madvise(mem, LARGE_SIZE, MADV_HUGEPAGE);
	for (i = 0; i < LARGE; i++)
		for (e = 0; e < ENTRIES; e++)
			mem[(i * LARGE_SIZE + e * 37 * 4096 + 8) / 8] = large_value(i, e);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LARGE_GPA, LARGE * LARGE_SIZE, mem), 0);
	return mem;
}

/* Part of the large pages is taken away by the host, and comes back as it was. */
static void disturb(u64 *mem, u64 turn)
{
	u64 *part = mem + (turn / 16 % (LARGE * 16)) * (LARGE_SIZE / 16 / 8);

	if (turn % 16)
		return;
	REQUIRE(!mprotect(part, LARGE_SIZE / 16, PROT_READ));
	REQUIRE(!mprotect(part, LARGE_SIZE / 16, PROT_READ | PROT_WRITE));
}

TEST(changes_and_reads)
{
	u64 *mem, turn = 0;
	enum run_end end;
	struct vm *vm;

	need_npt();
	vm = vm_create(CPUS);
	mem = large_pages(vm);
	*guest_var(vm, &seed) = env_number("NESTED_MODEL_SEED", 1);
	*guest_var(vm, &steps) = env_number("NESTED_MODEL_STEPS", 10000);
	vcpu_set_long(vm->vcpu, guest_main, 0);
	vcpu_set_long(&vm->vcpu[1], guest_second, 0);
	while ((end = vcpu_run(vm->vcpu)) == RUN_SYNC) {
		RUN_UNTIL_SYNC(&vm->vcpu[1], 0);
		disturb(mem, turn++);
	}
	CHECK_EQ(end, RUN_DONE);
	vm_destroy(vm);
}
