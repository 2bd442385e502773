// SPDX-License-Identifier: GPL-2.0
/*
 * Lookup in a CPUID table: exact entries, ranges by vendor, and the bits that follow the guest's
 * state. Pure.
 */
#include "cpuid_table.h"

#define LEAF_EXTENDED	0x80000000u
#define LEAF_CENTAUR	0xc0000000u
#define LEAF_HYPERVISOR	0x40000000u

#define XSAVE_LEGACY	(512 + 64)	/* FXSAVE image and XSAVE header */

static u16 *direct_slot(struct cpuid_table *t, u32 leaf)
{
	u32 low = leaf & ~LEAF_EXTENDED;

	return low < CPUID_DIRECT ? &t->direct[leaf >> 31][low] : NULL;
}

static bool vendor_is_amd(const struct kvm_cpuid_entry2 *e)
{
	/* "AuthenticAMD", "HygonGenuine", and the early "AMDisbetter!" */
	return (e->ebx == 0x68747541 && e->edx == 0x69746e65 && e->ecx == 0x444d4163) ||
	       (e->ebx == 0x6f677948 && e->edx == 0x6e65476e && e->ecx == 0x656e6975) ||
	       (e->ebx == 0x69444d41 && e->edx == 0x74656273 && e->ecx == 0x21726574);
}

void cpuid_table_build(struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *basic;
	unsigned int i, j;
	u16 *slot;

	for (i = 0; i < t->nr; i++) {
		for (j = i; j && t->entry[t->order[j - 1]].function > t->entry[i].function; j--)
			t->order[j] = t->order[j - 1];
		t->order[j] = i;
	}

	for (i = 0; i < CPUID_DIRECT; i++)
		t->direct[0][i] = t->direct[1][i] = 0;
	for (i = 0; i < t->nr; i++) {
		slot = direct_slot(t, t->entry[t->order[i]].function);
		if (slot && !*slot)
			*slot = i + 1;
	}

	basic = cpuid_table_find(t, 0, 0);
	t->max_basic = basic ? basic->eax : 0;
	t->redirect = basic && !vendor_is_amd(basic);
}

static unsigned int first_position(const struct cpuid_table *t, u32 leaf)
{
	u32 low = leaf & ~LEAF_EXTENDED;
	unsigned int lo = 0, hi = t->nr, mid;

	if (low < CPUID_DIRECT)
		return t->direct[leaf >> 31][low] ? t->direct[leaf >> 31][low] - 1u : t->nr;
	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (t->entry[t->order[mid]].function < leaf)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct kvm_cpuid_entry2 *cpuid_table_find(const struct cpuid_table *t, u32 leaf, u32 index)
{
	struct kvm_cpuid_entry2 *e;
	unsigned int i;

	for (i = first_position(t, leaf); i < t->nr; i++) {
		e = &t->entry[t->order[i]];
		if (e->function != leaf)
			break;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index)
			return e;
	}
	return NULL;
}

/* Is the leaf beyond the highest one of its range? */
static bool out_of_range(const struct cpuid_table *t, u32 leaf)
{
	const struct kvm_cpuid_entry2 *e;
	u32 base = 0;

	if (leaf >= LEAF_CENTAUR)
		base = LEAF_CENTAUR;
	else if (leaf >= LEAF_EXTENDED)
		base = LEAF_EXTENDED;
	else if (leaf >= LEAF_HYPERVISOR && leaf <= LEAF_HYPERVISOR + 0xffff)
		base = leaf & 0xffffff00;
	e = cpuid_table_find(t, base, 0);
	return !e || leaf > e->eax;
}

/*
 * A level beyond the topology leaves' last one: zeros, but the level number and the APIC ID stay.
 */
static void topology_beyond(const struct cpuid_table *t, u32 leaf, u32 index,
			    struct cpuid_regs4 *out)
{
	const struct kvm_cpuid_entry2 *e = cpuid_table_find(t, leaf, 1);

	if (e) {
		out->r[LEAF_ECX] = index & 0xff;
		out->r[LEAF_EDX] = e->edx;
	}
}

bool cpuid_table_execute(const struct cpuid_table *t, u32 leaf, u32 index, struct cpuid_regs4 *out)
{
	const struct kvm_cpuid_entry2 *e = cpuid_table_find(t, leaf, index);
	bool exact = e;

	if (!e) {
		if (t->redirect && out_of_range(t, leaf)) {
			leaf = t->max_basic;
			e = cpuid_table_find(t, leaf, index);
		}
		if (!e) {
			*out = (struct cpuid_regs4){ };
			if (leaf == 0xb || leaf == 0x1f)
				topology_beyond(t, leaf, index, out);
			return false;
		}
	}
	out->r[LEAF_EAX] = e->eax;
	out->r[LEAF_EBX] = e->ebx;
	out->r[LEAF_ECX] = e->ecx;
	out->r[LEAF_EDX] = e->edx;
	return exact;
}

u32 cpuid_xsave_size(u64 features, bool compacted, const struct cpuid_component *comp)
{
	u32 size = XSAVE_LEGACY, start;
	unsigned int i;

	for (i = 2; i < 63; i++) {
		if (!(features >> i & 1))
			continue;
		if (!compacted)
			start = comp[i].offset;
		else
			start = comp[i].aligned ? (size + 63) & ~63u : size;
		if (start + comp[i].size > size)
			size = start + comp[i].size;
	}
	return size;
}

static void put_bit(u32 *reg, unsigned int bit, bool on)
{
	*reg = (*reg & ~(1u << bit)) | (u32)on << bit;
}

void cpuid_table_update(struct cpuid_table *t, const struct cpuid_runtime *rt,
			const struct cpuid_component *comp)
{
	struct kvm_cpuid_entry2 *e;

	e = cpuid_table_find(t, 1, 0);
	if (e) {
		put_bit(&e->ecx, 27, (e->ecx >> 26 & 1) && rt->osxsave);
		put_bit(&e->edx, 9, rt->apic);
	}
	e = cpuid_table_find(t, 7, 0);
	if (e)
		put_bit(&e->ecx, 4, (e->ecx >> 3 & 1) && rt->ospke);
	e = cpuid_table_find(t, 0xd, 0);
	if (e)
		e->ebx = cpuid_xsave_size(rt->xcr0, false, comp);
	/* XSAVEC (bit 1) or XSAVES (bit 3) make EBX of sub-leaf 1 the compacted size. */
	e = cpuid_table_find(t, 0xd, 1);
	if (e && (e->eax & 0xa))
		e->ebx = cpuid_xsave_size(rt->xcr0 | rt->xss, true, comp);
}
