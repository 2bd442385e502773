// SPDX-License-Identifier: GPL-2.0
/*
 * The table of MSRs: who may see each, how it is read and written.
 *
 * Sorted by index. An MSR that is not here and not the backend's does not exist for the guest. Rows
 * that read as zero are those that operating systems touch without asking CPUID first.
 */
#include <linux/stddef.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/msr.h>

#include "../backend.h"
#include "../strata.h"

#define PLAIN(field, bits)	.offset = offsetof(struct vcpu_cpu, field), .mask = (bits)

static int get_tsc(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	*val = tsc_guest(v, rdtsc());
	return 0;
}

/* The guest's write moves IA32_TSC_ADJUST too (SDM, "IA32_TSC_ADJUST Register Support"). */
static int set_tsc(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u64 delta;

	if (host) {
		tsc_write_host(v, val);
		return 0;
	}
	delta = val - tsc_guest(v, rdtsc());
	v->cpu.tsc_adjust += delta;
	tsc_set_offset(v, v->cpu.tsc_offset + delta);
	return 0;
}

/* The guest's write moves its TSC; userspace restores the register and the TSC one by one. */
static int set_tsc_adjust(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u64 delta = val - (u64)v->cpu.tsc_adjust;

	v->cpu.tsc_adjust = val;
	if (!host && delta)
		tsc_set_offset(v, v->cpu.tsc_offset + delta);
	return 0;
}

static int get_apic_base(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	*val = v->apic_base;
	return 0;
}

static int set_apic_base(struct vcpu *v, u32 msr, u64 val, bool host)
{
	return apic_base_set(v, val, host);
}

static int set_spec_ctrl(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (val & ~v->cpu.spec_ctrl_allowed)
		return 1;
	v->cpu.spec_ctrl = val;
	return 0;
}

static int set_pred_cmd(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u64 allowed = PRED_CMD_IBPB | (guest_has(v, GUEST_SBPB) ? BIT_ULL(7) : 0);

	if (val & ~allowed)
		return 1;
	if (val && boot_cpu_has(X86_FEATURE_IBPB))
		wrmsrl(MSR_IA32_PRED_CMD, val);
	return 0;
}

static int set_flush_cmd(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (val & ~(u64)L1D_FLUSH)
		return 1;
	if (val && boot_cpu_has(X86_FEATURE_FLUSH_L1D))
		wrmsrl(MSR_IA32_FLUSH_CMD, val);
	return 0;
}

/*
 * The guest's write is the first step of reading the revision (SDM, "Determining the Signature");
 * userspace's sets it.
 */
static int set_microcode(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (host)
		v->cpu.microcode = val;
	return 0;
}

static int get_mtrr_cap(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	*val = MTRR_CAP;
	return 0;
}

static int get_mtrr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	u64 *slot = mtrr_slot(&v->cpu.mtrr, msr);

	if (!slot)
		return 1;
	*val = *slot;
	return 0;
}

static int set_mtrr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u64 *slot = mtrr_slot(&v->cpu.mtrr, msr);

	if (!slot || !mtrr_valid(msr, val, v->cpu.maxphyaddr))
		return 1;
	*slot = val;
	return 0;
}

static int set_pat(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (!mtrr_types_valid(val, true))
		return 1;
	v->cpu.pat = val;
	return 0;
}

static int set_arch_capabilities(struct vcpu *v, u32 msr, u64 val, bool host)
{
	u64 offered;

	if (msr_feature_get(MSR_IA32_ARCH_CAPABILITIES, &offered) || (val & ~offered))
		return 1;
	v->cpu.arch_capabilities = val;
	return 0;
}

/* Bits that say what there is not keep userspace's value. */
#define MISC_ENABLE_RDONLY	(BIT_ULL(7) | MSR_IA32_MISC_ENABLE_BTS_UNAVAIL | MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)

static int set_misc_enable(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (!host)
		val = (val & ~MISC_ENABLE_RDONLY) | (v->cpu.misc_enable & MISC_ENABLE_RDONLY);
	v->cpu.misc_enable = val;
	return 0;
}

static int set_xss(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (val & ~v->cpu.guest_xss_allowed)
		return 1;
	v->cpu.xss = val;
	xcr_changed(v);
	cpuid_runtime_changed(v);
	return 0;
}

static int set_tsc_aux(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (val >> 32)
		return 1;
	v->cpu.tsc_aux = val;
	cpu_tsc_aux_changed(v);
	return 0;
}

static int get_efer(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	*val = v->efer;
	return 0;
}

static int set_efer(struct vcpu *v, u32 msr, u64 val, bool host)
{
	return cr_set_efer(v, val, host);
}

/* The register is there for VMMs; the guest moves its SMRAM through the save area. */
static int get_smbase(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	*val = v->cpu.smbase;
	return !host;
}

static int set_smbase(struct vcpu *v, u32 msr, u64 val, bool host)
{
	if (!host || val >> 32)
		return 1;
	v->cpu.smbase = val;
	return 0;
}

/* The performance-related disables are accepted and do nothing. */
#define HWCR_IGNORED	(BIT_ULL(3) | BIT_ULL(6) | BIT_ULL(8))
#define HWCR_STORED	(BIT_ULL(18) | BIT_ULL(24))	/* McStatusWrEn, TscFreqSel */

static int set_hwcr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	val &= ~HWCR_IGNORED;
	if (val & ~HWCR_STORED)
		return 1;
	v->cpu.hwcr = val;
	return 0;
}

const struct msr_row msr_table[] = {
	{ 0x10, 0x10, MSR_ALWAYS, MSR_ROW_SAVE, .get = get_tsc, .set = set_tsc },
	{ MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, MSR_ALWAYS, MSR_ROW_SAVE, .get = pv_get_msr,
	  .set = pv_set_msr },
	{ MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_RDONLY },
	{ MSR_IA32_APICBASE, MSR_IA32_APICBASE, MSR_ALWAYS, 0, .get = get_apic_base,
	  .set = set_apic_base },
	{ MSR_IA32_EBL_CR_POWERON, MSR_IA32_EBL_CR_POWERON, MSR_ALWAYS, MSR_ROW_ZERO },
	{ 0x2c, 0x2c, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_RDONLY }, /* EBC_FREQUENCY_ID */
	{ MSR_SMI_COUNT, MSR_SMI_COUNT, MSR_ALWAYS, MSR_ROW_SAVE | MSR_ROW_RDONLY,
	  PLAIN(smi_count, 0xffffffff) },
	{ MSR_IA32_FEAT_CTL, MSR_IA32_FEAT_CTL, GUEST_VMX, 0, PLAIN(feature_control, 0x5) },
	{ MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_ADJUST, GUEST_TSC_ADJUST, MSR_ROW_SAVE,
	  PLAIN(tsc_adjust, 0), .set = set_tsc_adjust },
	{ MSR_IA32_SPEC_CTRL, MSR_IA32_SPEC_CTRL, GUEST_ANY_SPEC_CTRL, MSR_ROW_SAVE | MSR_ROW_TELL,
	  PLAIN(spec_ctrl, 0), .set = set_spec_ctrl },
	{ MSR_IA32_PRED_CMD, MSR_IA32_PRED_CMD, GUEST_PRED_CMD, MSR_ROW_WRONLY,
	  .set = set_pred_cmd },
	{ MSR_IA32_UCODE_WRITE, MSR_IA32_UCODE_WRITE, MSR_ALWAYS, MSR_ROW_ZERO, .mask = ~0ull },
	{ MSR_IA32_UCODE_REV, MSR_IA32_UCODE_REV, MSR_ALWAYS, MSR_ROW_FEATURE, PLAIN(microcode, 0),
	  .set = set_microcode },
	{ MSR_IA32_SMBASE, MSR_IA32_SMBASE, MSR_ALWAYS, MSR_ROW_SAVE, .get = get_smbase,
	  .set = set_smbase },
	{ MSR_IA32_PERFCTR0, MSR_IA32_PERFCTR1, MSR_ALWAYS, MSR_ROW_ZERO },
	{ MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, MSR_ALWAYS, MSR_ROW_RDONLY | MSR_ROW_SAVE,
	  PLAIN(platform_info, 0) },
	{ MTRR_MSR_CAP, MTRR_MSR_CAP, GUEST_MTRR, MSR_ROW_RDONLY, .get = get_mtrr_cap },
	{ MSR_IA32_ARCH_CAPABILITIES, MSR_IA32_ARCH_CAPABILITIES, GUEST_ARCH_CAPABILITIES,
	  MSR_ROW_RDONLY | MSR_ROW_SAVE | MSR_ROW_FEATURE, PLAIN(arch_capabilities, 0),
	  .set = set_arch_capabilities },
	{ MSR_IA32_FLUSH_CMD, MSR_IA32_FLUSH_CMD, GUEST_FLUSH_L1D, MSR_ROW_WRONLY,
	  .set = set_flush_cmd },
	{ MSR_IA32_BBL_CR_CTL3, MSR_IA32_BBL_CR_CTL3, MSR_ALWAYS, MSR_ROW_ZERO },
	{ MSR_MISC_FEATURES_ENABLES, MSR_MISC_FEATURES_ENABLES, MSR_ALWAYS, MSR_ROW_ZERO },
	{ MSR_IA32_MCG_CAP, MSR_IA32_MCG_CAP, MSR_ALWAYS, MSR_ROW_RDONLY, .get = mce_get,
	  .set = mce_set },
	{ MSR_IA32_MCG_STATUS, MSR_IA32_MCG_CTL, MSR_ALWAYS, MSR_ROW_SAVE, .get = mce_get,
	  .set = mce_set },
	{ MSR_P6_EVNTSEL0, MSR_P6_EVNTSEL1, MSR_ALWAYS, MSR_ROW_ZERO },
	{ MSR_IA32_PERF_STATUS, MSR_IA32_PERF_STATUS, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_RDONLY },
	{ MSR_IA32_MISC_ENABLE, MSR_IA32_MISC_ENABLE, MSR_ALWAYS, MSR_ROW_SAVE,
	  PLAIN(misc_enable, 0), .set = set_misc_enable },
	{ MSR_IA32_DEBUGCTLMSR, MSR_IA32_DEBUGCTLMSR, MSR_ALWAYS, 0, PLAIN(debugctl, 0) },
	{ MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY },
	{ MTRR_MSR_VAR, MTRR_MSR_VAR_LAST, GUEST_MTRR, MSR_ROW_SAVE, .get = get_mtrr,
	  .set = set_mtrr },
	{ MTRR_MSR_FIX64K, MTRR_MSR_FIX64K, GUEST_MTRR, MSR_ROW_SAVE, .get = get_mtrr,
	  .set = set_mtrr },
	{ MTRR_MSR_FIX16K, MTRR_MSR_FIX16K + 1, GUEST_MTRR, MSR_ROW_SAVE, .get = get_mtrr,
	  .set = set_mtrr },
	{ MTRR_MSR_FIX4K, MTRR_MSR_FIX4K_LAST, GUEST_MTRR, MSR_ROW_SAVE, .get = get_mtrr,
	  .set = set_mtrr },
	{ MSR_IA32_CR_PAT, MSR_IA32_CR_PAT, MSR_ALWAYS, MSR_ROW_SAVE | MSR_ROW_TELL, PLAIN(pat, 0),
	  .set = set_pat },
	{ MTRR_MSR_DEF_TYPE, MTRR_MSR_DEF_TYPE, GUEST_MTRR, MSR_ROW_SAVE, .get = get_mtrr,
	  .set = set_mtrr },
	{ MSR_IA32_PERF_CAPABILITIES, MSR_IA32_PERF_CAPABILITIES, GUEST_PDCM, MSR_ROW_RDONLY,
	  PLAIN(perf_capabilities, 0) },
	{ MSR_IA32_MC0_CTL, MSR_IA32_MCx_MISC(31), MSR_ALWAYS, 0, .get = mce_get, .set = mce_set },
	{ MSR_RAPL_POWER_UNIT, MSR_RAPL_POWER_UNIT, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY | MSR_ROW_INTEL },
	{ MSR_PKG_ENERGY_STATUS, MSR_PKG_ENERGY_STATUS, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY | MSR_ROW_INTEL },
	{ MSR_DRAM_ENERGY_STATUS, MSR_DRAM_ENERGY_STATUS, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY | MSR_ROW_INTEL },
	{ MSR_PP0_ENERGY_STATUS, MSR_PP0_ENERGY_STATUS, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY | MSR_ROW_INTEL },
	{ MSR_PP1_ENERGY_STATUS, MSR_PP1_ENERGY_STATUS, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_RDONLY | MSR_ROW_INTEL },
	{ MSR_IA32_TSC_DEADLINE, MSR_IA32_TSC_DEADLINE, MSR_ALWAYS, MSR_ROW_SAVE,
	  .get = apic_get_msr, .set = apic_set_msr },
	{ LAPIC_X2APIC_MSR, LAPIC_X2APIC_MSR_LAST, MSR_ALWAYS, 0, .get = apic_get_msr,
	  .set = apic_set_msr },
	{ MSR_IA32_XSS, MSR_IA32_XSS, GUEST_XSAVES, MSR_ROW_SAVE, PLAIN(xss, 0), .set = set_xss },
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW, MSR_ALWAYS, MSR_ROW_SAVE,
	  .get = pv_get_msr, .set = pv_set_msr },
	{ MSR_KVM_ASYNC_PF_EN, MSR_KVM_ASYNC_PF_ACK, MSR_ALWAYS, MSR_ROW_SAVE, .get = pv_get_msr,
	  .set = pv_set_msr },
	{ MSR_EFER, MSR_EFER, MSR_ALWAYS, 0, .get = get_efer, .set = set_efer },
	{ MSR_TSC_AUX, MSR_TSC_AUX, GUEST_TSC_AUX, MSR_ROW_SAVE, PLAIN(tsc_aux, 0),
	  .set = set_tsc_aux },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD },
	{ MSR_AMD64_SYSCFG, MSR_AMD64_SYSCFG, MSR_ALWAYS, MSR_ROW_AMD, PLAIN(syscfg, 0x7c0000) },
	{ MSR_K7_HWCR, MSR_K7_HWCR, MSR_ALWAYS, MSR_ROW_SAVE | MSR_ROW_AMD, PLAIN(hwcr, 0),
	  .set = set_hwcr },
	{ 0xc0010016, MSR_K8_TOP_MEM2, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD }, /* IORRs */
	{ MSR_AMD64_NB_CFG, MSR_AMD64_NB_CFG, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD,
	  .mask = ~0ull },
	{ MSR_K8_INT_PENDING_MSG, MSR_K8_INT_PENDING_MSG, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD },
	{ MSR_FAM10H_MMIO_CONF_BASE, MSR_FAM10H_MMIO_CONF_BASE, MSR_ALWAYS,
	  MSR_ROW_ZERO | MSR_ROW_AMD },
	{ MSR_AMD64_VIRT_SPEC_CTRL, MSR_AMD64_VIRT_SPEC_CTRL, GUEST_VIRT_SSBD,
	  MSR_ROW_SAVE | MSR_ROW_TELL, PLAIN(virt_spec_ctrl, BIT(2)) },
	{ MSR_AMD64_LS_CFG, MSR_F15H_IC_CFG + 2, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD,
	  .mask = ~0ull },
	{ MSR_AMD64_DE_CFG, MSR_AMD64_DE_CFG, MSR_ALWAYS, MSR_ROW_AMD | MSR_ROW_FEATURE,
	  PLAIN(de_cfg, BIT(1)) },
	{ MSR_AMD64_BU_CFG2, MSR_AMD64_BU_CFG2, MSR_ALWAYS, MSR_ROW_ZERO | MSR_ROW_AMD,
	  .mask = ~0ull },
};
const unsigned int msr_table_nr = ARRAY_SIZE(msr_table);

bool msr_table_sorted(void)
{
	unsigned int i;

	for (i = 1; i < ARRAY_SIZE(msr_table); i++)
		if (WARN_ON_ONCE(msr_table[i].first <= msr_table[i - 1].last ||
				 msr_table[i].first > msr_table[i].last))
			return false;
	return true;
}

const struct msr_row *msr_row_find(u32 msr)
{
	unsigned int lo = 0, hi = ARRAY_SIZE(msr_table), mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (msr_table[mid].last < msr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < ARRAY_SIZE(msr_table) && msr >= msr_table[lo].first)
		return &msr_table[lo];
	return NULL;
}
