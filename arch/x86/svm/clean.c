// SPDX-License-Identifier: GPL-2.0
/*
 * The VMCB's clean bits under watch, with the module parameter clean_bits_check: at each entry,
 * what the CPU is told to be as it left it must be so. A CPU without clean bits, such as an
 * emulated one, ignores them, so that they can be watched there as well.
 *
 * The watch hangs on the tracepoints of entry and exit: without it there is nothing on the way.
 */
#include "nested.h"
#include "../trace_kvm.h"

#include <linux/moduleparam.h>
#include <linux/slab.h>

static bool clean_bits_check;
module_param(clean_bits_check, bool, 0444);
MODULE_PARM_DESC(clean_bits_check, "warn if a VMCB clean bit is set for a field that has changed (SVM; slow)");

/**
 * struct svm_seen - what the CPU has of the control block that a vCPU ran on last
 * @vmcb: the control block; NULL: of none
 * @cpu: where it ran
 * @control: its two halves as the exit left them
 * @save: see @control
 */
struct svm_seen {
	const struct vmcb *vmcb;
	int cpu;
	struct vmcb_control_area control;
	struct vmcb_save_area save;
};

#define IN_CONTROL(bit, field) \
	{ bit, false, offsetof(struct vmcb_control_area, field), sizeof_field(struct vmcb_control_area, field), #field }
#define IN_SAVE(bit, field) \
	{ bit, true, offsetof(struct vmcb_save_area, field), sizeof_field(struct vmcb_save_area, field), #field }

/* APM vol. 2, "VMCB Clean Field". Bits that are never set behind an exit have no row. */
static const struct {
	u8 bit;
	bool save;
	u16 offset, size;
	const char *name;
} fields[] = {
	IN_CONTROL(CLEAN_INTERCEPTS, intercepts),
	IN_CONTROL(CLEAN_INTERCEPTS, tsc_offset),
	IN_CONTROL(CLEAN_INTERCEPTS, pause_filter_thresh),
	IN_CONTROL(CLEAN_INTERCEPTS, pause_filter_count),
	IN_CONTROL(CLEAN_PERM_MAP, iopm_base_pa),
	IN_CONTROL(CLEAN_PERM_MAP, msrpm_base_pa),
	IN_CONTROL(CLEAN_ASID, asid),
	IN_CONTROL(CLEAN_NPT, nested_ctl),
	IN_CONTROL(CLEAN_NPT, nested_cr3),
	IN_SAVE(CLEAN_NPT, g_pat),
	IN_SAVE(CLEAN_CR, cr0),
	IN_SAVE(CLEAN_CR, cr3),
	IN_SAVE(CLEAN_CR, cr4),
	IN_SAVE(CLEAN_CR, efer),
	IN_SAVE(CLEAN_DR, dr6),
	IN_SAVE(CLEAN_DR, dr7),
	IN_SAVE(CLEAN_DT, gdtr),
	IN_SAVE(CLEAN_DT, idtr),
	IN_SAVE(CLEAN_SEG, es),
	IN_SAVE(CLEAN_SEG, cs),
	IN_SAVE(CLEAN_SEG, ss),
	IN_SAVE(CLEAN_SEG, ds),
	IN_SAVE(CLEAN_SEG, cpl),
	IN_SAVE(CLEAN_LBR, dbgctl),
	IN_SAVE(CLEAN_LBR, br_from),
	IN_SAVE(CLEAN_LBR, br_to),
	IN_SAVE(CLEAN_LBR, last_excp_from),
	IN_SAVE(CLEAN_LBR, last_excp_to),
	IN_CONTROL(CLEAN_AVIC, avic_vapic_bar),
	IN_CONTROL(CLEAN_AVIC, avic_backing_page),
	IN_CONTROL(CLEAN_AVIC, avic_logical_id),
	IN_CONTROL(CLEAN_AVIC, avic_physical_id),
};

static struct svm_seen *seen_of(struct svm_vcpu *svm)
{
	return &svm->seen[svm->vmcb != svm->vmcb01];
}

static bool differs(const struct svm_seen *seen, const struct vmcb *vmcb, unsigned int i)
{
	const u8 *was = fields[i].save ? (const u8 *)&seen->save : (const u8 *)&seen->control;
	const u8 *is = fields[i].save ? (const u8 *)&vmcb->save : (const u8 *)&vmcb->control;

	return memcmp(was + fields[i].offset, is + fields[i].offset, fields[i].size);
}

static void before_entry(void *unused, struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	const struct vmcb *vmcb = svm->vmcb;
	u32 clean = vmcb->control.clean;
	struct svm_seen *seen;
	unsigned int i;

	if (!svm->seen || !clean)
		return;
	seen = seen_of(svm);
	if (WARN_ONCE(seen->vmcb != vmcb || seen->cpu != smp_processor_id(),
		      "strata: VMCB %d: clean bits %#x on CPU %d, which does not know it\n", v->guest_mode + 1, clean, smp_processor_id()))
		return;
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		WARN((clean & BIT(fields[i].bit)) && differs(seen, vmcb, i), "strata: VMCB %d: %s has changed, but clean bit %u is set\n",
		     v->guest_mode + 1, fields[i].name, fields[i].bit);
}

static void after_exit(void *unused, struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_seen *seen;

	if (!svm->seen)
		return;
	seen = seen_of(svm);
	seen->vmcb = svm->vmcb;
	seen->cpu = smp_processor_id();
	seen->control = svm->vmcb->control;
	seen->save = svm->vmcb->save;
}

bool svm_clean_check(void)
{
	return clean_bits_check;
}

int svm_clean_vcpu_init(struct svm_vcpu *svm)
{
	if (!clean_bits_check)
		return 0;
	svm->seen = kvcalloc(2, sizeof(*svm->seen), GFP_KERNEL_ACCOUNT);
	return svm->seen ? 0 : -ENOMEM;
}

void svm_clean_vcpu_destroy(struct svm_vcpu *svm)
{
	kvfree(svm->seen);
	svm->seen = NULL;
}

int svm_clean_setup(void)
{
	int ret;

	if (!clean_bits_check)
		return 0;
	ret = register_trace_kvm_entry(before_entry, NULL);
	if (ret)
		return ret;
	ret = register_trace_kvm_exit(after_exit, NULL);
	if (ret)
		unregister_trace_kvm_entry(before_entry, NULL);
	return ret;
}

void svm_clean_unsetup(void)
{
	if (!clean_bits_check)
		return;
	unregister_trace_kvm_entry(before_entry, NULL);
	unregister_trace_kvm_exit(after_exit, NULL);
	tracepoint_synchronize_unregister();
}
