/*
 * A PAM module that does what ours must refuse or survive:
 *   rename=NAME  lets everybody in, as NAME
 *   ask=TEXT     asks with a visible prompt
 *   say=TEXT     says something and refuses
 */
#include <stdlib.h>
#include <string.h>
#include <security/pam_modules.h>
#include <security/pam_ext.h>

int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "rename=", 7))
			return pam_set_item(h, PAM_USER, argv[i] + 7);
		if (!strncmp(argv[i], "ask=", 4)) {
			char *answer = NULL;
			int rc = pam_prompt(h, PAM_PROMPT_ECHO_ON, &answer, "%s", argv[i] + 4);
			free(answer);
			return rc;
		}
		if (!strncmp(argv[i], "say=", 4)) {
			pam_info(h, "%s", argv[i] + 4);
			return PAM_AUTH_ERR;
		}
	}
	return PAM_SERVICE_ERR;
}

int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)h, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}
