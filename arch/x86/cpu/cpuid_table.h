/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A CPUID table: the entries userspace set, and the index that answers a CPUID instruction in a few
 * dozen instructions.
 *
 * Entries stay in userspace's order, as KVM_GET_CPUID2 returns them; an index sorted by leaf
 * (stable, so that of two entries for the same leaf the first wins) finds them. Bits that follow
 * the guest's state (OSXSAVE, OSPKE, APIC, the sizes in leaf 0xD) are stored in the entries when
 * that state changes, not computed when the guest executes CPUID. Pure: no kernel state.
 */
#ifndef STRATA_CPUID_TABLE_H
#define STRATA_CPUID_TABLE_H

#include <linux/kvm.h>
#include <linux/types.h>

#define CPUID_MAX_ENTRIES	256
#define CPUID_DIRECT		32	/* leaves 0.. and 0x80000000.. found without a search */

enum cpuid_reg { LEAF_EAX, LEAF_EBX, LEAF_ECX, LEAF_EDX, LEAF_NR_REGS };

/**
 * struct cpuid_regs4 - what CPUID returns
 * @r: by enum cpuid_reg
 */
struct cpuid_regs4 {
	u32 r[LEAF_NR_REGS];
};

/**
 * struct cpuid_table - entries and index
 * @entry: in userspace's order
 * @nr: how many
 * @redirect: a leaf beyond its range gives the highest basic leaf (Intel); otherwise zeros (AMD)
 * @max_basic: leaf 0's EAX
 * @direct: first position in @order of leaf 0x0000_00nn and 0x8000_00nn, plus 1; 0 if there is none
 * @order: entries by leaf
 */
struct cpuid_table {
	struct kvm_cpuid_entry2 *entry;
	u16 nr;
	bool redirect;
	u32 max_basic;
	u16 direct[2][CPUID_DIRECT];
	u8 order[CPUID_MAX_ENTRIES];
};

/**
 * struct cpuid_runtime - guest state that CPUID shows
 * @osxsave: CR4.OSXSAVE
 * @ospke: CR4.PKE
 * @apic: IA32_APIC_BASE enables the local APIC
 * @xcr0: XCR0
 * @xss: IA32_XSS
 */
struct cpuid_runtime {
	bool osxsave, ospke, apic;
	u64 xcr0, xss;
};

/**
 * struct cpuid_component - one XSAVE component as leaf 0xD tells
 * @size: bytes
 * @offset: in the standard format; 0 for supervisor components
 * @aligned: starts at a multiple of 64 in the compacted format
 */
struct cpuid_component {
	u32 size, offset;
	bool aligned;
};

/**
 * cpuid_table_build() - index a table's entries
 * @t: the table, entry and nr set; nr at most CPUID_MAX_ENTRIES
 */
void cpuid_table_build(struct cpuid_table *t);

/**
 * cpuid_table_find() - the entry of a leaf
 * @t: the table
 * @leaf: EAX
 * @index: ECX; ignored for entries without a significant index
 *
 * Return: the entry, or NULL.
 */
struct kvm_cpuid_entry2 *cpuid_table_find(const struct cpuid_table *t, u32 leaf, u32 index);

/**
 * cpuid_table_execute() - what the instruction returns, ranges included
 * @t: the table
 * @leaf: EAX
 * @index: ECX
 * @out: EAX..EDX
 *
 * Return: true if an entry matched exactly (not by redirection).
 */
bool cpuid_table_execute(const struct cpuid_table *t, u32 leaf, u32 index, struct cpuid_regs4 *out);

/**
 * cpuid_table_update() - store the bits that follow the guest's state
 * @t: the table
 * @rt: the state
 * @comp: the host's XSAVE components, 64 of them
 */
void cpuid_table_update(struct cpuid_table *t, const struct cpuid_runtime *rt,
			const struct cpuid_component *comp);

/**
 * cpuid_xsave_size() - size of an XSAVE area
 * @features: components
 * @compacted: format
 * @comp: the host's components
 */
u32 cpuid_xsave_size(u64 features, bool compacted, const struct cpuid_component *comp);

static inline u32 *cpuid_entry_reg(struct kvm_cpuid_entry2 *e, enum cpuid_reg reg)
{
	return reg == LEAF_EAX ? &e->eax : reg == LEAF_EBX ? &e->ebx : reg == LEAF_ECX ? &e->ecx : &e->edx;
}

#endif
