// SPDX-License-Identifier: GPL-2.0
/*
 * L1's nested page tables; see npt.h.
 */
#include <stdlib.h>
#include <unistd.h>

#include "npt.h"

static u64 pool_next = NPT_POOL;

u64 npt_page(void)
{
	u64 page = pool_next, i;

	GUEST_ASSERT(page < NPT_POOL_END);
	pool_next += 4096;
	for (i = 0; i < 512; i++)
		((u64 *)page)[i] = 0;
	return page;
}

static bool is_32bit(const struct npt *n)
{
	return n->mode == NPT_32BIT;
}

static u64 load(const struct npt *n, u64 at)
{
	return is_32bit(n) ? *(volatile u32 *)at : *(volatile u64 *)at;
}

static void store(const struct npt *n, u64 at, u64 entry)
{
	if (is_32bit(n))
		*(volatile u32 *)at = entry;
	else
		*(volatile u64 *)at = entry;
}

static int top_level(const struct npt *n)
{
	static const int levels[] = { 2, 3, 4, 5 };

	return levels[n->mode];
}

u64 npt_at(struct npt *n, u64 gpa, int level)
{
	int bits = is_32bit(n) ? 10 : 9, size = is_32bit(n) ? 4 : 8, l = top_level(n);
	u64 table = n->root;

	for (;; l--) {
		u64 at = table + (gpa >> (12 + bits * (l - 1)) & ((1u << bits) - 1)) * size, entry;

		if (l == level)
			return at;
		entry = load(n, at);
		if (!(entry & PTE_P)) {
			/* PAE's pointers have no rights. */
			entry = npt_page() | (l == 3 && n->mode == NPT_PAE ? PTE_P : NPT_RWX);
			store(n, at, entry);
		}
		table = entry & PTE_ADDR;
	}
}

u64 npt_get(struct npt *n, u64 gpa, int level)
{
	return load(n, npt_at(n, gpa, level));
}

void npt_set(struct npt *n, u64 gpa, int level, u64 entry)
{
	store(n, npt_at(n, gpa, level), entry);
}

void npt_init(struct npt *n, enum npt_mode mode)
{
	u64 step = mode == NPT_32BIT ? 4 << 20 : 2 << 20, gpa;

	n->mode = mode;
	n->root = npt_page();
	for (gpa = 0; gpa < SLOT0_SIZE; gpa += step)
		npt_set(n, gpa, 2, gpa | NPT_RWX | PTE_PS);
}

/* L1's own tables in the mode that VMRUN is done in */
static struct npt l1_tables;

static u64 vmrun(void)
{
	static const u64 cr4[] = { CR4_PSE, CR4_PAE, 0, CR4_PAE | CR4_LA57 };
	u64 efer = rdmsr(MSR_EFER) & ~EFER_LMA;

	if (l1_tables.mode == NPT_4LEVEL)
		return svm_vmrun(&svm_vmcb);
	if (l1_tables.mode < NPT_4LEVEL)
		efer &= ~EFER_LME;
	return svm_vmrun_mode(&svm_vmcb, l1_tables.root, cr4[l1_tables.mode], efer);
}

static volatile u64 l2_addr, l2_op;
volatile u64 npt_value;

static void npt_l2(void)
{
	for (;;) {
		switch (l2_op) {
		case NPT_READ:
			npt_value = *(volatile u64 *)l2_addr;
			break;
		case NPT_WRITE:
			*(volatile u64 *)l2_addr = npt_value;
			break;
		default:
			((void (*)(void))l2_addr)();
			break;
		}
		vmmcall();
	}
}

u64 npt_access(enum npt_op op, u64 addr)
{
	l2_op = op;
	l2_addr = addr;
	svm_guest_restart(npt_l2);
	return vmrun();
}

u64 npt_data_page(u64 value)
{
	u64 page = npt_page();

	((volatile u64 *)page)[0] = 0xc3;
	((volatile u64 *)page)[1] = value;
	return page;
}

void npt_guest_init(struct npt *n, enum npt_mode mode)
{
	npt_init(n, mode);
	npt_init(&l1_tables, mode);
	svm_guest_init(npt_l2);
	svm_vmcb.nested_ctl = 1;
	svm_vmcb.ncr3 = n->root;
}

void need_npt(void)
{
	need_svm();
	if (!(svm_features() & SVM_FEATURE_NP))
		tap_skip("guests are not offered nested paging");
}

void npt_run(void (*fn)(void))
{
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

void need_la57(void)
{
	int kvm = kvm_open();
	struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);
	struct kvm_cpuid_entry2 *e = cpuid_entry(cpuid, 7, 0);
	bool there = e && (e->ecx & 1 << 16);

	free(cpuid);
	close(kvm);
	if (!there)
		tap_skip("no 5-level paging");
}
