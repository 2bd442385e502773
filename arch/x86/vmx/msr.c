// SPDX-License-Identifier: GPL-2.0
/*
 * MSRs that the backend holds, and the bitmap that lets the guest have them directly.
 *
 * FS and GS base and the SYSENTER MSRs are in the VMCS. KERNEL_GS_BASE is in the CPU while the vCPU
 * has entered since it was loaded. The SYSCALL MSRs stay in the CPU until the kernel returns to
 * user mode.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/mutex.h>
#include <linux/slab.h>
#include <asm/msr.h>
#include <asm/msr-index.h>

static const u32 urmsr_index[] = {
	[URMSR_STAR]	= MSR_STAR,
	[URMSR_LSTAR]	= MSR_LSTAR,
	[URMSR_SFMASK]	= MSR_SYSCALL_MASK,
};

/* The first one's slot; the others follow. Negative before the first VM. */
static int first_slot = -1;
static DEFINE_MUTEX(slots_lock);

static int add_slots(void)
{
	int slot, first = user_return_add(urmsr_index[0]);
	unsigned int i;

	if (first < 0)
		return first;
	for (i = 1; i < NR_URMSRS; i++) {
		slot = user_return_add(urmsr_index[i]);
		if (slot < 0)
			return slot;
		if (WARN_ON_ONCE(slot != first + i))
			return -EIO;
	}
	first_slot = first;
	return 0;
}

/* The CPU room is up only after the backend, so its slots are taken with the first VM. */
int vmx_vm_init(struct vm *vm)
{
	int ret = 0;

	mutex_lock(&slots_lock);
	if (first_slot < 0)
		ret = add_slots();
	mutex_unlock(&slots_lock);
	return ret;
}

void vmx_msr_load(struct vmx_vcpu *vmx)
{
	/* SYSCALL needs EFER.SCE: without it nothing looks at these. */
	if (vmx->vcpu.efer & EFER_SCE)
		user_return_load(first_slot, NR_URMSRS, vmx->urmsr);
}

/* One of them changed, or EFER did: they are loaded again before the next entry. */
void vmx_msr_reload(struct vmx_vcpu *vmx)
{
	preempt_disable();
	if (vmx->host.loaded)
		vmx_msr_load(vmx);
	preempt_enable();
}

/* ---- bitmap ---- */

/*
 * Four parts of 1K: reads of 0..1fff, reads of c0000000..c0001fff, writes of either (SDM,
 * "MSR-Bitmap Address").
 */
#define BITMAP_HIGH	(1024 * 8)
#define BITMAP_WRITE	(2048 * 8)

static void bitmap_set_msr(unsigned long *map, u32 msr, bool read, bool write)
{
	unsigned int bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? BITMAP_HIGH : 0);

	__assign_bit(bit, map, !read);
	__assign_bit(bit + BITMAP_WRITE, map, !write);
}

/* What entries and exits switch is the guest's own. */
static const u32 passed[] = {
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

int vmx_msr_alloc(struct vmx_vcpu *vmx)
{
	vmx->msr_bitmap = (unsigned long *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!vmx->msr_bitmap)
		return -ENOMEM;
	memset(vmx->msr_bitmap, 0xff, PAGE_SIZE);
	return 0;
}

void vmx_msr_free(struct vmx_vcpu *vmx)
{
	free_page((unsigned long)vmx->msr_bitmap);
	vmx->msr_bitmap = NULL;
}

/* What the CPU serves from the virtual-APIC page */
static void pass_apic(struct vmx_vcpu *vmx, unsigned long *map, unsigned int reg, bool read,
		      bool write)
{
	u32 msr = LAPIC_X2APIC_MSR + reg / 0x10;

	bool on = vmx->apicv == APICV_X2APIC;

	bitmap_set_msr(map, msr, on && read && msr_allowed(&vmx->vcpu, msr, false),
		       on && write && msr_allowed(&vmx->vcpu, msr, true));
}

/*
 * Registers that are nothing but what the page has. ICR is in two places there, and the current
 * count is computed.
 */
static void pass_apic_reads(struct vmx_vcpu *vmx, unsigned long *map)
{
	static const u16 regs[] = {
		LAPIC_ID, LAPIC_VERSION, LAPIC_PPR, LAPIC_LDR, LAPIC_SVR, LAPIC_ESR, LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF,
		LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR, LAPIC_TMICT, LAPIC_TDCR,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(regs); i++)
		pass_apic(vmx, map, regs[i], true, false);
	/* ISR, TMR, IRR */
	for (i = LAPIC_ISR; i < LAPIC_ESR; i += 0x10)
		pass_apic(vmx, map, i, true, false);
}

void vmx_update_msr_access(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	unsigned long *map = vmx->msr_bitmap;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(passed); i++)
		bitmap_set_msr(map, passed[i], msr_allowed(v, passed[i], false),
			       msr_allowed(v, passed[i], true));
	bitmap_set_msr(map, MSR_IA32_TSC, msr_allowed(v, MSR_IA32_TSC, false), false);
	vmx_apicv_update(vmx);
	pass_apic(vmx, map, LAPIC_TPR, true, true);
	pass_apic(vmx, map, LAPIC_EOI, false, true);
	pass_apic(vmx, map, LAPIC_SELF_IPI, false, true);
	if (vmx_has2(SECONDARY_EXEC_APIC_REGISTER_VIRT))
		pass_apic_reads(vmx, map);
}

/* ---- values ---- */

/* The VMCS field that is the MSR, or 0 */
static u32 vmcs_msr(u32 msr)
{
	switch (msr) {
	case MSR_FS_BASE:		return GUEST_FS_BASE;
	case MSR_GS_BASE:		return GUEST_GS_BASE;
	case MSR_IA32_SYSENTER_CS:	return GUEST_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP:	return GUEST_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP:	return GUEST_SYSENTER_EIP;
	default:			return 0;
	}
}

/* Where the others are kept, or NULL */
static u64 *kept_msr(struct vmx_vcpu *vmx, u32 msr)
{
	switch (msr) {
	case MSR_STAR:			return &vmx->urmsr[URMSR_STAR];
	case MSR_LSTAR:			return &vmx->urmsr[URMSR_LSTAR];
	case MSR_SYSCALL_MASK:		return &vmx->urmsr[URMSR_SFMASK];
	case MSR_CSTAR:			return &vmx->cstar;
	case MSR_KERNEL_GS_BASE:	return &vmx->kernel_gs_base;
	default:			return NULL;
	}
}

static bool is_address(u32 msr)
{
	return msr != MSR_STAR && msr != MSR_SYSCALL_MASK && msr != MSR_IA32_SYSENTER_CS;
}

int vmx_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 field = vmcs_msr(msr);
	const u64 *p;

	if (field) {
		*val = vmread(field);
		return 0;
	}
	p = kept_msr(vmx, msr);
	if (!p)
		return -ENOENT;
	preempt_disable();
	if (msr == MSR_KERNEL_GS_BASE && vmx->host.loaded)
		rdmsrl(MSR_KERNEL_GS_BASE, vmx->kernel_gs_base);
	preempt_enable();
	*val = *p;
	return 0;
}

static void set_kept(struct vmx_vcpu *vmx, u32 msr, u64 *p, u64 val)
{
	preempt_disable();
	*p = val;
	if (msr == MSR_KERNEL_GS_BASE && vmx->host.loaded)
		wrmsrl(MSR_KERNEL_GS_BASE, val);
	preempt_enable();
	vmx_msr_reload(vmx);
}

int vmx_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 field = vmcs_msr(msr);
	u64 *p = kept_msr(vmx, msr);

	if (msr == MSR_IA32_CR_PAT) {	/* cpu.pat was checked and set; the VMCS has a copy of its own */
		vmwrite(GUEST_IA32_PAT, val);
		return 0;
	}
	if (!field && !p)
		return -ENOENT;
	if (is_address(msr) && !msr_address_ok(v, val, host))
		return 1;
	vmx->segs_avail = 0;		/* FS and GS base are part of them */
	if (field)
		vmwrite(field, val);
	else
		set_kept(vmx, msr, p, val);
	return 0;
}
