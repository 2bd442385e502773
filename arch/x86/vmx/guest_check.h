/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The checks of guest state that a VM entry makes: free of kernel interfaces, for the unit suite.
 */
#ifndef STRATA_VMX_GUEST_CHECK_H
#define STRATA_VMX_GUEST_CHECK_H

#include <linux/types.h>

/* In the order of the VMCS */
enum vmx_seg { VMX_ES, VMX_CS, VMX_SS, VMX_DS, VMX_FS, VMX_GS, VMX_LDTR, VMX_TR, VMX_NR_SEGS };

/**
 * struct vmx_guest_seg - a segment register as the VMCS has it
 * @selector: selector
 * @limit: limit in bytes
 * @rights: access rights
 * @base: base address
 */
struct vmx_guest_seg {
	u16 selector;
	u32 limit, rights;
	u64 base;
};

/**
 * struct vmx_guest - what the checks look at, all of it fields of the VMCS
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @dr7: DR7
 * @debugctl: IA32_DEBUGCTL
 * @sysenter_esp: IA32_SYSENTER_ESP
 * @sysenter_eip: IA32_SYSENTER_EIP
 * @pat: IA32_PAT
 * @efer: IA32_EFER
 * @pdpte: page-directory pointers
 * @seg: segment registers
 * @gdt_base: GDTR's base
 * @idt_base: IDTR's base
 * @rip: RIP
 * @rflags: RFLAGS
 * @pending: pending debug exceptions
 * @link: VMCS link pointer
 * @entry: VM-entry controls
 * @activity: activity state
 * @blocking: interruptibility state
 * @intr_info: VM-entry interruption information
 */
struct vmx_guest {
	u64 cr0, cr3, cr4, dr7, debugctl, sysenter_esp, sysenter_eip, pat, efer, pdpte[4];
	struct vmx_guest_seg seg[VMX_NR_SEGS];
	u64 gdt_base, idt_base, rip, rflags, pending, link;
	u32 entry, activity, blocking, intr_info;
};

/**
 * struct vmx_limits - what the CPU allows
 * @cr0_must: bits that must be 1 in CR0, PE and PG left out
 * @cr0_may: bits that may be 1 in CR0
 * @cr4_must: bits that must be 1 in CR4
 * @cr4_may: bits that may be 1 in CR4
 * @phys_bits: width of physical addresses
 * @virt_bits: width of linear addresses
 */
struct vmx_limits {
	u64 cr0_must, cr0_may, cr4_must, cr4_may;
	unsigned int phys_bits, virt_bits;
};

/**
 * vmx_failed_check() - find the check that an entry fails
 * @g: guest state, with EPT, unrestricted guest and virtual NMIs, outside the host's SMM
 * @l: what the CPU allows
 *
 * Makes the checks of the SDM's "Checks on the Guest State Area", in its order.
 * Return: the name of the first one that fails, NULL if none does.
 */
const char *vmx_failed_check(const struct vmx_guest *g, const struct vmx_limits *l);

#endif
