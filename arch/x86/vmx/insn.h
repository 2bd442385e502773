/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMX instructions.
 *
 * A reboot or a crash switches VMX off under threads that are still using it: from then on these
 * instructions fault, and the exception table makes that a failure like others. A failure while VMX
 * is on is our bug.
 */
#ifndef STRATA_VMX_INSN_H
#define STRATA_VMX_INSN_H

#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

/* One warning, unless VMX was switched off (hardware.c). */
void vmx_insn_failed(const char *insn, u64 operand);

static __always_inline unsigned long vmread(unsigned long field)
{
	unsigned long val;
	bool failed;

	asm volatile("1: vmread %[field], %[val]\n"
		     "2:\n"
		     _ASM_EXTABLE_TYPE_REG(1b, 2b, EX_TYPE_ZERO_REG, %[val])
		     : [val] "=r" (val), "=@ccbe" (failed)
		     : [field] "r" (field));
	if (unlikely(failed))
		vmx_insn_failed("vmread", field);
	return val;
}

static __always_inline void vmwrite(unsigned long field, unsigned long val)
{
	asm goto("1: vmwrite %[val], %[field]\n\t"
		 "jbe %l[failed]\n"
		 _ASM_EXTABLE(1b, %l[failed])
		 : : [field] "r" (field), [val] "rm" (val) : "cc" : failed);
	return;
failed:
	vmx_insn_failed("vmwrite", field);
}

/* Instructions with one memory operand that holds a physical address; false on failure. */
#define VMX_PA_INSN(name)						\
static __always_inline bool insn_##name(u64 pa)				\
{									\
	asm goto("1: " #name " %[pa]\n\t"				\
		 "jbe %l[failed]\n"					\
		 _ASM_EXTABLE(1b, %l[failed])				\
		 : : [pa] "m" (pa) : "cc", "memory" : failed);		\
	return true;							\
failed:									\
	return false;							\
}

VMX_PA_INSN(vmxon)
VMX_PA_INSN(vmclear)
VMX_PA_INSN(vmptrld)
#undef VMX_PA_INSN

static __always_inline bool insn_vmxoff(void)
{
	asm goto("1: vmxoff\n\t"
		 _ASM_EXTABLE(1b, %l[failed])
		 : : : "cc", "memory" : failed);
	return true;
failed:
	return false;
}

/* SDM, "INVEPT" and "INVVPID": descriptors of 128 bits */
static __always_inline void invept(unsigned long type, u64 eptp)
{
	struct { u64 eptp, zero; } d = { eptp, 0 };

	asm goto("1: invept %[d], %[type]\n\t"
		 "jbe %l[failed]\n"
		 _ASM_EXTABLE(1b, %l[failed])
		 : : [d] "m" (d), [type] "r" (type) : "cc", "memory" : failed);
	return;
failed:
	vmx_insn_failed("invept", eptp);
}

static __always_inline void invvpid(unsigned long type, u16 vpid)
{
	struct { u64 vpid, linear; } d = { vpid, 0 };

	asm goto("1: invvpid %[d], %[type]\n\t"
		 "jbe %l[failed]\n"
		 _ASM_EXTABLE(1b, %l[failed])
		 : : [d] "m" (d), [type] "r" (type) : "cc", "memory" : failed);
	return;
failed:
	vmx_insn_failed("invvpid", vpid);
}

#endif
