// SPDX-License-Identifier: GPL-2.0
/*
 * force_intercept_exceptions: exceptions that exit although nobody needs them to, so that a guest
 * can be watched. The guest sees no difference: each is forwarded as it would have been delivered.
 */
#include "intercepts.h"
#include "backend.h"

#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/seq_buf.h>
#include <asm/trapnr.h>

/*
 * What the backends' exit tables forward exactly. Not NMIs (no exceptions), the reserved vectors,
 * and those that belong to what guests are not offered: #VE, #CP, #HV, #VC, #SX.
 */
#define FORWARDED									\
	(BIT(X86_TRAP_DE) | BIT(X86_TRAP_DB) | BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF) |	\
	 BIT(X86_TRAP_BR) | BIT(X86_TRAP_UD) | BIT(X86_TRAP_NM) | BIT(X86_TRAP_DF) |	\
	 BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) |	\
	 BIT(X86_TRAP_PF) | BIT(X86_TRAP_MF) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) |	\
	 BIT(X86_TRAP_XF))

static const char *const names[32] = {
	[X86_TRAP_NMI]		= "NMI",
	[X86_TRAP_OLD_MF]	= "coprocessor segment overrun",
	[X86_TRAP_TS]		= "#TS (comes without its error code)",
	[X86_TRAP_VE]		= "#VE",
	[X86_TRAP_CP]		= "#CP",
	[X86_TRAP_VC]		= "#VC",
};

static u32 forced;		/* under the module's parameter lock; read without */
static bool backend_known;

static void warn_refused(u32 refused)
{
	char text[400];
	struct seq_buf s;
	unsigned int i;

	seq_buf_init(&s, text, sizeof(text));
	for (i = 0; i < 32; i++) {
		if (!(refused & BIT(i)))
			continue;
		seq_buf_printf(&s, "%s%u", s.len ? ", " : "", i);
		if (names[i])
			seq_buf_printf(&s, " %s", names[i]);
	}
	pr_warn("strata: force_intercept_exceptions: these vectors cannot be forced: %.*s\n",
		(int)s.len, text);
}

static void accept(u32 wanted)
{
	u32 allowed = FORWARDED;

	if (backend_known && !backend_caps.ts_exit_has_error)
		allowed &= ~BIT(X86_TRAP_TS);
	if (wanted & ~allowed)
		warn_refused(wanted & ~allowed);
	WRITE_ONCE(forced, wanted & allowed);
}

static int set_forced(const char *text, const struct kernel_param *kp)
{
	unsigned int wanted;
	int ret = kstrtouint(text, 0, &wanted);

	if (!ret)
		accept(wanted);
	return ret;
}

static int get_forced(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%#x\n", forced);
}

static const struct kernel_param_ops forced_ops = {
	.set	= set_forced,
	.get	= get_forced,
};

module_param_cb(force_intercept_exceptions, &forced_ops, NULL, 0644);
MODULE_PARM_DESC(force_intercept_exceptions, "bitmask of exception vectors that VMs created from now on always exit for");

u32 forced_exceptions(void)
{
	return READ_ONCE(forced);
}

void forced_exceptions_init(void)
{
	kernel_param_lock(THIS_MODULE);
	backend_known = true;
	accept(forced);
	kernel_param_unlock(THIS_MODULE);
}
