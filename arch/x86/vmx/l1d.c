// SPDX-License-Identifier: GPL-2.0
/*
 * L1 terminal fault: the L1 data cache is flushed before an entry, so that the guest finds no host
 * data there.
 *
 * "cond" flushes if other host code than the short path of an exit has run since the last flush:
 * interrupts (the kernel notes them), another thread, userspace, or an exit that touches more than
 * the vCPU's own state. See the kernel's Documentation/admin-guide/hw-vuln/l1tf.rst. The kernel
 * shows the mode in sysfs.
 */
#include "vmx.h"

#include <linux/hardirq.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>

#define L1D_ORDER	4		/* 64K: twice the largest L1D of the CPUs concerned */
#define LINE		64

static char *vmentry_l1d_flush = "auto";
module_param(vmentry_l1d_flush, charp, 0444);
MODULE_PARM_DESC(vmentry_l1d_flush, "flush the L1 data cache before entries: auto, never, cond, always (VMX)");

DEFINE_STATIC_KEY_FALSE(vmx_l1d_wanted);
static DEFINE_STATIC_KEY_FALSE(flush_wanted);
static DEFINE_STATIC_KEY_FALSE(flush_cond);
static struct page *flush_pages;
static enum vmx_l1d_flush_state l1d_mode;

static enum vmx_l1d_flush_state by_kernel(void)
{
	switch (l1tf_mitigation) {
	case L1TF_MITIGATION_OFF:
		return VMENTER_L1D_FLUSH_NEVER;
	case L1TF_MITIGATION_FLUSH_NOWARN:
	case L1TF_MITIGATION_FLUSH:
	case L1TF_MITIGATION_FLUSH_NOSMT:
		return VMENTER_L1D_FLUSH_COND;
	default:
		return VMENTER_L1D_FLUSH_ALWAYS;
	}
}

static enum vmx_l1d_flush_state choose(void)
{
	static const char *const names[] = {
		[VMENTER_L1D_FLUSH_AUTO]	= "auto",
		[VMENTER_L1D_FLUSH_NEVER]	= "never",
		[VMENTER_L1D_FLUSH_COND]	= "cond",
		[VMENTER_L1D_FLUSH_ALWAYS]	= "always",
	};
	u64 caps = 0;
	int mode;

	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, caps);
	if (!boot_cpu_has_bug(X86_BUG_L1TF) || (caps & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH))
		return VMENTER_L1D_FLUSH_NOT_REQUIRED;
	mode = match_string(names, ARRAY_SIZE(names), vmentry_l1d_flush);
	if (mode < 0)
		pr_warn("strata: vmentry_l1d_flush=%s is unknown, taking auto\n",
			vmentry_l1d_flush);
	return mode > 0 ? mode : by_kernel();
}

int vmx_l1d_setup(void)
{
	enum vmx_l1d_flush_state mode = choose();
	bool wanted = mode == VMENTER_L1D_FLUSH_COND || mode == VMENTER_L1D_FLUSH_ALWAYS;

	if (wanted && !boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		flush_pages = alloc_pages(GFP_KERNEL, L1D_ORDER);
		if (!flush_pages)
			return -ENOMEM;
		/* Pages of one content could be merged by a hypervisor below. */
		memset64(page_address(flush_pages), (u64)flush_pages,
			 (PAGE_SIZE << L1D_ORDER) / sizeof(u64));
	}
	if (wanted)
		static_branch_enable(&flush_wanted);
	if (wanted || static_key_enabled(&mmio_stale_data_clear))
		static_branch_enable(&vmx_l1d_wanted);
	if (mode == VMENTER_L1D_FLUSH_COND)
		static_branch_enable(&flush_cond);
	l1d_mode = mode;
	vmx_l1d_show();
	return 0;
}

void vmx_l1d_show(void)
{
	WRITE_ONCE(l1tf_vmx_mitigation, l1d_mode);
}

void vmx_l1d_unsetup(void)
{
	l1tf_vmx_mitigation = VMENTER_L1D_FLUSH_AUTO;
	static_branch_disable(&vmx_l1d_wanted);
	static_branch_disable(&flush_wanted);
	static_branch_disable(&flush_cond);
	if (flush_pages)
		__free_pages(flush_pages, L1D_ORDER);
	flush_pages = NULL;
}

/* Every line of the buffer, after every page of it so that no page walk comes between. */
static noinline void flush_by_reading(void)
{
	const char *p = page_address(flush_pages);
	const char *end = p + (PAGE_SIZE << L1D_ORDER);
	const char *page;

	for (page = p; page < end; page += PAGE_SIZE)
		READ_ONCE(*page);
	asm volatile("lfence" ::: "memory");
	for (; p < end; p += 16 * LINE)
		asm volatile("movb (0 * 64)(%0), %%al\n\t"
			     "movb (1 * 64)(%0), %%al\n\t"
			     "movb (2 * 64)(%0), %%al\n\t"
			     "movb (3 * 64)(%0), %%al\n\t"
			     "movb (4 * 64)(%0), %%al\n\t"
			     "movb (5 * 64)(%0), %%al\n\t"
			     "movb (6 * 64)(%0), %%al\n\t"
			     "movb (7 * 64)(%0), %%al\n\t"
			     "movb (8 * 64)(%0), %%al\n\t"
			     "movb (9 * 64)(%0), %%al\n\t"
			     "movb (10 * 64)(%0), %%al\n\t"
			     "movb (11 * 64)(%0), %%al\n\t"
			     "movb (12 * 64)(%0), %%al\n\t"
			     "movb (13 * 64)(%0), %%al\n\t"
			     "movb (14 * 64)(%0), %%al\n\t"
			     "movb (15 * 64)(%0), %%al"
			     : : "r" (p) : "rax", "memory");
	asm volatile("lfence" ::: "memory");
}

/**
 * vmx_l1d_flush() - directly before an entry
 * @vmx: the vCPU; interrupts off
 *
 * Called where vmx_l1d_wanted is set. Where the L1D needs no flush, CPUs with stale data in their
 * fill buffers have those cleared instead; VERW in world.S does that for CPUs that need it before
 * every entry.
 */
void vmx_l1d_flush(struct vmx_vcpu *vmx)
{
	if (!static_branch_unlikely(&flush_wanted)) {
		if (static_branch_unlikely(&mmio_stale_data_clear))
			x86_clear_cpu_buffers();
		return;
	}
	if (static_branch_likely(&flush_cond)) {
		bool dirty = vmx->l1d_dirty | kvm_get_cpu_l1tf_flush_l1d();

		vmx->l1d_dirty = false;
		kvm_clear_cpu_l1tf_flush_l1d();
		if (!dirty)
			return;
	}
	vmx->vcpu.virt.stats.l1d_flush++;
	if (static_cpu_has(X86_FEATURE_FLUSH_L1D))
		native_wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	else
		flush_by_reading();
}
